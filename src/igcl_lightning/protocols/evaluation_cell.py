"""One contestant of an evaluation, in a process of its own: pretrain it if need be, then measure part by part.

FOLDER/plan.json           what to do, written by `evaluation`
FOLDER/version_0/          the run folder of pretraining
FOLDER/PROTOCOL-PART.parquet   a part that is measured, with its settings and warnings in the metadata
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from igcl_lightning.atomic import replacing
from igcl_lightning.data.store import Store
from igcl_lightning.protocols.cells import run_as_cell, tell
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.evaluation_table import PROTOCOLS
from igcl_lightning.protocols.pretraining import checkpoint_of, pretrained
from igcl_lightning.protocols.protocol import Part
from igcl_lightning.quiet import PACKAGE, quiet
from igcl_lightning.training.lightning_cli import import_modules

METADATA = b"igcl"


class Task(NamedTuple):
    """A part to measure: file in the folder of the cell, protocol, store, its values, and a hash of its settings."""

    file: str
    protocol: str
    store: str
    part: Part
    settings: str


@dataclass(frozen=True)
class Plan:
    """What a cell does, as plain values.

    Attributes:
        contestant: fields of the contestant.
        store: store to pretrain on.
        pretraining: a hash of what its weights depend on.
        protocols: options of the protocols, by name.
        tasks: parts to measure.
        modules: modules to import first.
    """

    contestant: Mapping[str, Any]
    store: str
    pretraining: str
    protocols: Mapping[str, Mapping[str, Any]]
    tasks: Sequence[Task]
    modules: Sequence[str]


class Noted(NamedTuple):
    """What the file of a part says about it: hash of its settings, and warnings."""

    settings: str = ""
    warnings: Sequence[str] = ()


def main() -> None:
    """Measure the contestant whose folder is the first argument."""
    run_as_cell(lambda folder, plan: run_cell(folder, Plan(**plan)))


def run_cell(folder: Path, plan: Plan) -> None:
    """Pretrain, unless that is done, and measure all parts that are not.

    Raises:
        IgclError, UsageError: as pretraining and protocols do.
    """
    import_modules(plan.modules)
    tasks = [Task(*task) for task in plan.tasks]
    contestant = Contestant(**plan.contestant)
    if contestant.words:
        stale = [task.file for task in tasks]
        pretrained(folder, folder, contestant.words, plan.store, plan.pretraining, stale)
        contestant = replace(contestant, checkpoint=str(checkpoint_of(folder)))
    for task in tasks:
        if noted(folder / task.file).settings != task.settings:
            tell(folder, " ".join([task.protocol, *(f"{name} {value:g}" for name, value in task.part.items())]))
            protocol = PROTOCOLS[task.protocol](**plan.protocols[task.protocol])
            with quiet(), warnings.catch_warnings(record=True) as caught:
                frame = protocol.measure(contestant, Store(task.store), task.part)
            ours = [str(each.message) for each in caught if PACKAGE in Path(each.filename).parents]
            _write(frame, Noted(task.settings, list(dict.fromkeys(ours))), folder / task.file)


def _write(frame: pd.DataFrame, note: Noted, path: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA: json.dumps(note._asdict())})
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def noted(path: Path) -> Noted:
    """Return what the file of a part says; nothing if there is none, or none that can be read."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        return Noted(**json.loads(metadata[METADATA]))
    except (OSError, pa.ArrowInvalid, KeyError, ValueError, TypeError):
        return Noted()
