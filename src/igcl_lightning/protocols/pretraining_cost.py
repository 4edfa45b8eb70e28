"""What it costs to pretrain the rows of a table: parameters, and seconds of a step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from igcl_lightning.evaluation.many_rows import format_rows
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.pretraining_cost import CAVEAT, COLUMNS, PROTOCOL, cost_rows
from igcl_lightning.evaluation.results import Record, compare_runs
from igcl_lightning.protocols.cells import read_json
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.pretraining import PRETRAINED


def pretraining_cost(folders: Mapping[Contestant, Path], store: str) -> tuple[list[Record], str]:
    """Return the cost of each row as records and as a table, means over its seeds.

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
    return records, f"{CAVEAT}\n\n{format_rows(cost_rows(records))}"
