"""A table of pretraining runs, read from YAML: rows that differ in their options, each with some seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.graphs.counterfactuals import KINDS
from igcl_lightning.protocols.yaml_file import read_yaml
from igcl_lightning.training.options import plain_key

NAME = re.compile(r"[\w+][\w+., -]*")
"""Names of rows, which become names of folders."""

MAX_SEED = 2**32 - 1

REPORTED_SEED = 0
"""Seed of the phantoms to train on, and of the hard negatives that are reported once."""

SCORED = ("valid", "test")
"""Splits that probes may score."""


ELSEWHERE = {"config": "config", "data.store": "store.path", "seed_everything": "seeds"}
"""Options of `igcl fit` that a row may not set, and the key of the table that does."""


@dataclass(frozen=True)
class PairsOptions:
    """Pairs to train and probe on.

    Args:
        studies: number of phantom studies, seven in ten for training.
        size: side of the phantoms in pixels.
        path: an existing store instead.
    """

    studies: int = 3600
    size: int = 64
    path: str | None = None


@dataclass(frozen=True)
class HardNegativeOptions:
    """Phantom hard negatives.

    Args:
        studies: number of studies, two for each patient; 0 for none.
        validation_seed: seed of those that choices are made on.
    """

    studies: int = 600
    validation_seed: int = 1


@dataclass(frozen=True)
class ProbeOptions:
    """Linear probes of the image encoder.

    Args:
        fractions: labelled shares of the training rows; empty for no probe.
        draws: number of draws of labelled rows for each share, the same for all cells.
        splits: splits whose rows are scored: "valid" to choose by, "test" to report.
    """

    fractions: list[float] = field(default_factory=lambda: [0.01])
    draws: int = 5
    splits: list[str] = field(default_factory=lambda: ["test"])


@dataclass(frozen=True)
class Row:
    """One method of a table.

    Args:
        name: its name.
        config: its pretraining config (default: that of the table).
        options: options of `igcl fit` by name, such as `{model.matching.weight: 0}`.
        epochs: epochs of pretraining (default: those of the table).
        seeds: seeds of pretraining (default: those of the table).
        versus: names of the rows to compare it with (default: the first row).
    """

    name: str
    config: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    seeds: list[int] | None = None
    versus: list[str] | None = None


@dataclass(frozen=True)
class Table:
    """Rows that are pretrained on the same pairs and measured in the same way.

    Args:
        rows: the methods.
        config: pretraining config of rows without one.
        epochs: epochs of pretraining (default: those of the config).
        seeds: seeds of pretraining: initial weights, order of the pairs, augmentation.
        store: pairs to train on.
        hard_negatives: how the methods are asked for hard negatives.
        counterfactuals: kinds of counterfactuals (`graphs.counterfactuals`) that the methods tell apart from reports of
            the test split.
        probe: how their image encoders are probed.
    """

    rows: list[Row]
    config: str | None = None
    epochs: int | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    store: PairsOptions = PairsOptions()
    hard_negatives: HardNegativeOptions = HardNegativeOptions()
    counterfactuals: list[str] = field(default_factory=list)
    probe: ProbeOptions = ProbeOptions()

    @property
    def versus(self) -> list[tuple[str, str]]:
        """Pairs of rows (method, other) to compare."""
        first = self.rows[0].name
        others = {row.name: [first] if row.versus is None else row.versus for row in self.rows}
        return [(name, other) for name, against in others.items() for other in against if other != name]


def read_table(name: str) -> Table:
    """Read a table from a file, or a shipped one such as ablation/reclf.yaml.

    Raises:
        UsageError: there is no such file, a key is unknown or a value has the wrong type.
        IgclError: a value cannot be used, such as the name of two rows.
    """
    path, table = read_yaml(Table, name, "--table", (f"rows.{each.name}" for each in fields(Row)))
    for what in _mistakes(table):
        raise IgclError(f"{path}: {what}")
    return table


def _mistakes(table: Table) -> Iterator[str]:
    """Yield what is wrong with the values of a table."""
    if not table.rows:
        yield "rows is empty"
    names = [row.name for row in table.rows]
    for row in table.rows:
        if names.count(row.name) > 1:
            yield f"rows: two rows are called {row.name!r}"
        for other in row.versus or ():
            if other not in names:
                yield f"rows: {row.name!r} is compared with {other!r}, which is no row{suggestion(other, names)}"
        yield from _mistakes_of_row(row, table)
    yield from _mistakes_of_measures(table)


def _mistakes_of_measures(table: Table) -> Iterator[str]:
    hard = table.hard_negatives
    if hard.studies and (hard.studies < 4 or hard.studies % 2):
        yield f"hard_negatives.studies is {hard.studies}, not 0 or an even number of at least 4"
    if table.store.path is None and table.store.studies < 1:
        yield f"store.studies is {table.store.studies}, not at least 1"
    if hard.validation_seed < 0:
        yield f"hard_negatives.validation_seed is {hard.validation_seed}, not at least 1"
    if hard.validation_seed == REPORTED_SEED:
        yield f"hard_negatives.validation_seed is {REPORTED_SEED}, the seed of those that are reported"
    for kind in table.counterfactuals:
        if kind not in KINDS:
            yield f"counterfactuals: {kind!r} is not one of {', '.join(KINDS)}{suggestion(kind, KINDS)}"
    yield from _mistakes_of_probe(table.probe)


def _mistakes_of_probe(probe: ProbeOptions) -> Iterator[str]:
    if not all(0 < fraction <= 1 for fraction in probe.fractions):
        yield f"probe.fractions are {probe.fractions}, not above 0 and at most 1"
    if len(set(probe.fractions)) < len(probe.fractions):
        yield f"probe.fractions are {probe.fractions}: one is given twice"
    if probe.draws < 1:
        yield f"probe.draws is {probe.draws}, not at least 1"
    if not probe.splits or len(set(probe.splits)) < len(probe.splits) or set(probe.splits) - {*SCORED}:
        yield f"probe.splits are {probe.splits}, not one or both of {', '.join(SCORED)}"


def _mistakes_of_row(row: Row, table: Table) -> Iterator[str]:
    if not NAME.fullmatch(row.name):
        yield f"rows: {row.name!r} is not a name of letters, digits, spaces and +.,-_"
    if row.config is None and table.config is None:
        yield f"rows: {row.name!r} has no config, and the table has none"
    for option in row.options:
        if (key := plain_key(option)) in ELSEWHERE:
            yield f"rows: {row.name!r} sets {option}; set {ELSEWHERE[key]} instead"
        elif option.startswith("trainer.logger"):
            yield f"rows: {row.name!r} sets {option}; all runs are logged as CSV files, in folders of their own"
    for epochs in (row.epochs, table.epochs):
        if epochs is not None and epochs < 1:
            yield f"epochs is {epochs}, not at least 1"
    seeds = table.seeds if row.seeds is None else row.seeds
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > MAX_SEED:
        yield f"seeds of {row.name!r} are {seeds}, not different numbers from 0 to {MAX_SEED}"
