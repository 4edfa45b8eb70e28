"""What was run, for the page: command line, versions, contestants, options of protocols, stores."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from igcl_lightning import __version__
from igcl_lightning.closing import command
from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.page_tables import Table
from igcl_lightning.protocols.contestants import FLOORS, SUPERVISED, Contestant
from igcl_lightning.protocols.protocol import Protocol

PACKAGES = (
    *("torch", "lightning", "timm", "torch-geometric", "torchmetrics", "spacy"),
    *("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "datasets"),
)
"""Packages whose versions numbers may depend on."""

COMPARED = ["name", "what", "seed of pretraining", "SHA-256"]

LETTERS = 12
"""Letters of a hash that are shown."""


class RunRecord(NamedTuple):
    """What was run: the command line, "" if it is not known, and tables; long ones are folded."""

    command: str
    tables: Sequence[Table]
    folded: Sequence[Table]


def run_record(
    words: Sequence[str],
    contestants: Sequence[Contestant],
    protocols: Sequence[Protocol],
    stores: Mapping[str, Path],
) -> RunRecord:
    """Return what was run, without the folders of this machine.

    Args:
        words: words of the command line behind `igcl`.
        contestants: what was compared.
        protocols: what was asked.
        stores: path of the store of each protocol.
    """
    line = command(map(without_folder, words)) if words else ""
    opened = [Store(path) for path in dict.fromkeys(stores.values())]
    options = [["protocol", "option", "value"]]
    options += [[each.name, name, _plain(value)] for each in protocols for name, value in asdict(each).items()]
    versions = {"igcl-lightning": __version__, "Python": platform.python_version()}
    versions |= {name: version(name) for name in PACKAGES}
    told = [Table("Compared", [COMPARED, *map(_contestant, contestants)]), _stores(opened)]
    folded = [
        Table("Options of the protocols", options),
        Table("Versions", [["package", "version"], *([name, number] for name, number in versions.items())]),
    ]
    return RunRecord(line, *([table for table in tables if len(table.rows) > 1] for tables in (told, folded)))


def without_folder(word: str) -> str:
    """Return a word of a command with absolute paths as seen from the current folder, or else by their last part."""
    name, equals, value = word.rpartition("=")
    path = PurePath(value)
    if not path.is_absolute():
        return word
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else PurePath(path.name)
    return f"{name}{equals}{near}"


def _contestant(contestant: Contestant) -> list[str]:
    what = "file of features"
    if contestant.method in FLOORS:
        what = "probe on what is known without a model"
    elif contestant.words:
        what = f"pretrained here: {command(['fit', *contestant.words])}"
    elif contestant.checkpoint is not None:
        what = f"checkpoint {without_folder(contestant.checkpoint)}"
    elif contestant.baseline:
        how = "trained from scratch" if contestant.baseline == SUPERVISED else "random weights"
        what = f"{how}, {_plain(contestant.image)}"
    elif contestant.image is not None:
        what = f"encoder {_plain(contestant.image)}"
    seed = "" if contestant.seed is None else str(contestant.seed)
    return [contestant.title, what, seed, contestant.identity[:LETTERS]]


def _stores(stores: Sequence[Store]) -> Table:
    """Return a row for each fact of the manifests, and a column for each store."""
    columns = [_facts(store.manifest) for store in stores]
    names = list(dict.fromkeys(name for facts in columns for name in facts))
    rows = [[name, *(facts.get(name, "") for facts in columns)] for name in names]
    return Table("Stores", [["manifest", *(store.path.name for store in stores)], *rows])


def _facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    source, options = manifest.get("source", {}), manifest.get("options", {})
    return {
        "source": _plain({name: value for name, value in source.items() if _is_said(value)}),
        "rows": _plain(manifest.get("rows", {})),
        "patients": _plain(manifest.get("patients", {})),
        "image size": str(manifest.get("size", "")),
        "labels": _plain(manifest.get("labels", [])),
        "options": _plain({name: value for name, value in options.items() if _is_said(value)}),
        "parser": str(manifest.get("parser", "")),
        "prepared by": f"igcl-lightning {manifest.get('igcl_lightning', '')}",
        "fingerprint": str(manifest.get("fingerprint", "")),
    }


def _is_said(value: Any) -> bool:
    """Return whether an option is other than empty; a path of this machine is not told."""
    return value not in (None, "", [], {}, False) and not (isinstance(value, str) and PurePath(value).is_absolute())


def _plain(value: Any) -> str:
    """Return plain values as text: "a 1, b 2", or "1, 2"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return "default" if value is None else without_folder(str(value))
