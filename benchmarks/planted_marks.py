"""Planted marks: in how many stores of phantoms `igcl doctor` names one, and in how many it warns falsely.

    python benchmarks/planted_marks.py [--planted 10] [--clean 20] [--studies 400] [--size 64]

Seeds and labels vary. A planted mark counts as named if its label is, with a place in a lower corner; any other warning
is a false one. The designed associations of phantoms, such as edema and devices with AP views, are in all stores.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["OMP_NUM_THREADS"] = "1"

import datasets
import numpy as np

from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_source
from igcl_lightning.doctor.findings import Finding
from igcl_lightning.doctor.looks import look_at
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.shortcut_checks import check_shortcuts
from igcl_lightning.phantom import LABELS

CLEAN_SEED, PLANTED_SEED = 1000, 2000


def findings_of(path: Path, studies: int, size: int, seed: int, label: str | None) -> list[Finding]:
    """Findings on new phantoms; the column that tells where the mark is belongs to no real data and is not asked."""
    source = phantom_source(studies, size=size, views="frontal", seed=seed, shortcut=label)
    prepare(source, path, options=Options(size=size, lossless=True))
    store = OpenedStore(path)
    store.manifest["extra"] = []
    return list(check_shortcuts(store, look_at(store, np.arange(store.num_rows), threads=1)))


def warned(findings: list[Finding]) -> list[tuple[str, str]]:
    """Labels that are warned of, with places."""
    return [(each.numbers["label"], each.numbers["by"]) for each in findings if each.level == "warning"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("planted", 10), ("clean", 20), ("studies", 400), ("size", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    datasets.disable_progress_bars()
    labels = [LABELS[number % len(LABELS)] for number in range(asked.planted)]
    stores = [(PLANTED_SEED + number, label) for number, label in enumerate(labels)]
    stores += [(CLEAN_SEED + number, None) for number in range(asked.clean)]
    named, false, begin = 0, 0, time.perf_counter()
    print("seed  planted            warned of")
    for seed, label in stores:
        with TemporaryDirectory() as folder:
            findings = findings_of(Path(folder) / "store", asked.studies, asked.size, seed, label)
        said = warned(findings)
        named += any(one == label and place.startswith("lower") for one, place in said)
        false += any(one != label for one, _ in said)
        shown = "; ".join(f"{one}, {place}" for one, place in said) or f"nothing ({findings[0].message})"
        print(f"{seed}  {label or '-':17}  {shown}", flush=True)
    print(f"planted marks named: {named} of {asked.planted}; false warnings: in {false} of {len(stores)} stores")
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
