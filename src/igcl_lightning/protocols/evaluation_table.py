"""Protocols (`configs/protocol/`) and tables of methods (`configs/evaluation/`), read from YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import yaml

from igcl_lightning.errors import IgclError, UsageError, suggestion
from igcl_lightning.protocols.contestants import BASELINES, FLOORS
from igcl_lightning.protocols.counterfactuals import Counterfactuals
from igcl_lightning.protocols.fine_tuning import FineTuning
from igcl_lightning.protocols.hard_negatives import HardNegatives
from igcl_lightning.protocols.legacy import Legacy
from igcl_lightning.protocols.linear import FewShot, Linear
from igcl_lightning.protocols.localisation import Localisation
from igcl_lightning.protocols.protocol import Protocol
from igcl_lightning.protocols.retrieval import Retrieval
from igcl_lightning.protocols.rows import Row, mistakes
from igcl_lightning.protocols.segmentation import SegmentationProtocol
from igcl_lightning.protocols.yaml_file import find_yaml, read_yaml
from igcl_lightning.protocols.zero_shot import ZeroShotProtocol
from igcl_lightning.training.options import shipped_configs

PROTOCOLS: dict[str, type[Protocol]] = {
    each.name: each
    for each in (
        *(Linear, FewShot, FineTuning, ZeroShotProtocol, Retrieval, HardNegatives),
        *(Counterfactuals, SegmentationProtocol, Localisation, Legacy),
    )
}
"""Protocols by the key `protocol` of their YAML."""

FAST: dict[str, Any] = {
    "fractions": [0.1, 1.0],
    "supervised_epochs": [1, 1],
    "epochs": [1, 1],
    "shots": [5],
    "draws": 2,
    "baseline_seeds": 1,
}
"""Options of a small, fast run, of the protocols that have them."""


@dataclass(frozen=True)
class PhantomOptions:
    """Phantoms to pretrain and evaluate on, where no store is given.

    Args:
        studies: number of studies, seven in ten for training.
        size: side of the images in pixels.
        hard_negatives: number of studies of the hard negatives, two for each patient.
    """

    studies: int = 3600
    size: int = 64
    hard_negatives: int = 600


@dataclass(frozen=True)
class Table:
    """An evaluation of several methods by several protocols.

    Args:
        protocols: names or files of protocols.
        train: methods to pretrain on phantoms, METHOD or METHOD:SEED; the first is compared with the others.
        rows: models to pretrain with options of their own, such as the parts of a method.
        config: pretraining config of rows without one.
        epochs: epochs of pretraining of rows without (default: those of the config).
        seeds: seeds of pretraining of rows without: initial weights, order of the pairs, augmentation.
        pairs: store that rows are pretrained on (default: the one that is evaluated).
        baselines: "random" (encoders with random weights) and "supervised" (training from scratch), either with the
            architecture of the first model that has one, or as "supervised:densenet121" with a named one; and probes on
            "metadata" (age, sex, view), "view" and "pixels" (32 x 32).
        phantoms: phantoms to pretrain and evaluate on.
    """

    protocols: list[str] = field(default_factory=lambda: ["linear", "few_shot"])
    train: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    config: str | None = None
    epochs: int | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    pairs: str | None = None
    baselines: list[str] = field(default_factory=list)
    phantoms: PhantomOptions = PhantomOptions()


def read_table(name: str) -> Table:
    """Read a table from a file, or a shipped one such as evaluation/demo.yaml.

    Raises:
        UsageError: there is no such file, a key is unknown or a value has the wrong type.
        IgclError: a value cannot be used.
    """
    path, table = read_yaml(Table, name, "--table", (f"rows.{each.name}" for each in fields(Row)))
    table = replace(table, rows=[_complete(row, table) for row in table.rows])
    for what in mistakes(table.rows):
        raise IgclError(f"{path}: {what}")
    phantoms = table.phantoms
    if phantoms.studies < 1 or phantoms.size < 1:
        raise IgclError(f"{path}: phantoms.studies and phantoms.size are at least 1")
    if phantoms.hard_negatives < 4 or phantoms.hard_negatives % 2:
        given = phantoms.hard_negatives
        raise IgclError(f"{path}: phantoms.hard_negatives is {given}, not an even number of at least 4")
    return table


def _complete(row: Row, table: Table) -> Row:
    """Return a row with the values of the table where it has none of its own."""
    usual: dict[str, Any] = {
        "config": table.config,
        "epochs": table.epochs,
        "seeds": table.seeds,
        "versus": [] if row is table.rows[0] else [table.rows[0].name],
    }
    return replace(row, **{name: value for name, value in usual.items() if getattr(row, name) is None})


def check_baselines(words: Sequence[str]) -> None:
    """Raise `UsageError` for the name of no baseline, `IgclError` for one that is given twice."""
    for word in words:
        name = word.partition(":")[0]
        if name not in BASELINES:
            raise UsageError(f"--baselines: {name!r} is not one of {', '.join(BASELINES)}{suggestion(name, BASELINES)}")
        if name in FLOORS and ":" in word:
            raise UsageError(f"--baselines: {word!r} names a backbone, and {name} has none")
        if words.count(word) > 1:
            raise IgclError(f"--baselines: {word!r} is given twice")


def read_protocols(names: Sequence[str], labels: Sequence[str] | None = None, fast: bool = False) -> list[Protocol]:
    """Read protocols from files, or shipped ones by name, such as "linear".

    Args:
        names: a name, or the path of a file.
        labels: labels to evaluate instead of those in the files.
        fast: whether to ask for little (`FAST`).

    Raises:
        UsageError: there is no such protocol, a key is unknown or a value has the wrong type.
        IgclError: two of them are of one kind.
    """
    protocols = [_read_protocol(name) for name in names]
    for number, protocol in enumerate(protocols):
        if protocol.name in [each.name for each in protocols[:number]]:
            raise IgclError(f"--protocol: two protocols are {protocol.name}; evaluate them into different folders")
        wanted: dict[str, Any] = {} if labels is None else {"labels": list(labels)}
        wanted |= {option.name: FAST[option.name] for option in fields(protocol) if fast and option.name in FAST}
        protocols[number] = replace(protocol, **wanted)
    return protocols


def _read_protocol(name: str) -> Protocol:
    shipped = name in PROTOCOLS or not name.endswith((".yaml", ".yml"))
    try:
        path = find_yaml(f"protocol/{name}.yaml" if shipped else name, "--protocol")
    except UsageError:
        if not shipped:
            raise
        known = sorted(path.stem for path in (shipped_configs() / "protocol").glob("*.yaml"))
        near = suggestion(name, known) or f"; known are {', '.join(known)}"
        raise UsageError(f"--protocol: no protocol {name!r}{near}, or give a .yaml file") from None
    kind = yaml.safe_load(path.read_text(encoding="utf-8")).get("protocol")
    if not isinstance(kind, str) or kind not in PROTOCOLS:
        near = suggestion(str(kind), PROTOCOLS) or f", not one of {', '.join(PROTOCOLS)}"
        raise IgclError(f"{path}: protocol: {kind!r}{near}")
    return read_yaml(PROTOCOLS[kind], str(path), "--protocol", besides=("protocol",))[1]
