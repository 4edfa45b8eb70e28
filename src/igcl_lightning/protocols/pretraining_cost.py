"""What it costs to pretrain the rows of a table: parameters, and seconds of a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, compare_runs
from igcl_lightning.evaluation.tables import aligned
from igcl_lightning.protocols.cells import read_json
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.pretraining import PRETRAINED

PROTOCOL = "pretraining"

COLUMNS = {
    "parameters": "parameters",
    "parameters_of_reports": "of the reports' encoder",
    "seconds_per_step": "ms/step",
    "seconds_per_epoch": "s/epoch",
}
"""What `pretrained.json` says of the cost, and the titles of its columns."""

CAPTION = "cost of pretraining; times to compare only if nothing else ran on the machine"


def pretraining_cost(folders: Mapping[Contestant, Path], store: str) -> tuple[list[Record], str]:
    """Return the cost of each row as records and as a table, medians over its seeds.

    Args:
        folders: folder of each contestant; those without a finished pretraining are left out.
        store: name of the store that they are pretrained on.
    """
    notes = {each: read_json(folder / PRETRAINED) for each, folder in folders.items()}
    known = {each: note for each, note in notes.items() if note.keys() >= COLUMNS.keys()}
    if not known:
        return [], ""
    about: dict[str, Any] = {"n": 0, "protocol": PROTOCOL, "store": store, "split": "train", "scale": "any"}
    records = []
    for name in COLUMNS:
        values = {
            Run(each.method, None, None, each.seed): np.array([float(note[name])]) for each, note in known.items()
        }
        records += compare_runs(values, (), metric=name, **about)
    rows = [["", *COLUMNS.values()]]
    for method in dict.fromkeys(each.method for each in known):
        own = [note for each, note in known.items() if each.method == method]
        total, side, step, epoch = (median(note[name] for note in own) for name in COLUMNS)
        rows.append([method, f"{total:,.0f}", f"{side:,.0f}", f"{1000 * step:.1f}", f"{epoch:.1f}"])
    return records, f"{CAPTION}\n\n{aligned(rows)}"
