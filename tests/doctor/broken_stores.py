"""Small stores, and ways to break them."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.doctor.findings import Finding
from stores import prepare_studies

LABELS = ("Edema", "Fracture")
SPLIT_OF = ("train", "train", "train", "train", "valid", "test")


def picture(seed: int, size: int = 32) -> np.ndarray:
    """Grey pixels uint8 [size, size] that no other seed gives."""
    return np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)


def study(number: int, **fields: Any) -> Study:
    """A study of its own patient, with one image and a report of its own."""
    image = StudyImage(f"row-{number}", picture(number), "PA")
    defaults = {
        "study_id": f"study-{number}",
        "patient_id": f"patient-{number}",
        "images": (image,),
        "report": {"findings": f"Small right effusion of {number + 2} mm."},
        "labels": {"Edema": float(number % 2), "Fracture": None if number % 3 else float(number % 4 == 0)},
        "split": SPLIT_OF[number % len(SPLIT_OF)],
        "age": 50.0 + number,
        "sex": "F",
    }
    return Study(**(defaults | fields))


def write_store(path: Path, studies: Sequence[Study], labels: Sequence[str] = LABELS, size: int = 32) -> Path:
    prepare_studies(studies, path, labels=labels, options=Options(size=size, lossless=True))
    return path


def rewrite(store: Path, split: str, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Edit the rows of a split behind the back of `prepare`."""
    table = datasets.load_from_disk(str(store / split))
    rows = table.with_format("arrow")[:].to_pylist()
    edit(rows)
    changed = datasets.Dataset.from_list(rows, features=table.features)
    del table
    changed.save_to_disk(str(store / "changed"))
    for file in (store / split).iterdir():
        file.unlink()
    (store / split).rmdir()
    (store / "changed").rename(store / split)


def change_row(store: Path, split: str, index: int, **changes: Any) -> None:
    """Change cells of one row."""
    rewrite(store, split, lambda rows: rows[index].update(changes))


def edit_manifest(store: Path, **changes: Any) -> None:
    """Change entries of the manifest."""
    path = store / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def said(findings: Iterable[Finding], level: str | None = None) -> list[str]:
    """The messages of some findings, of one level or of all."""
    return [finding.message for finding in findings if level in (None, finding.level)]
