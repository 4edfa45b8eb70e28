"""`igcl ablate`: pretrain every cell of a table once, measure all in the same way, and print the table.

OUT/stores/                the phantoms, unless the table names a store
OUT/cells/NAME-SEED/       one cell (see `ablation_cell`)
OUT/results.json, table.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from igcl_lightning import __version__
from igcl_lightning.closing import say, write_closing
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError, UsageError, suggestion
from igcl_lightning.protocols.ablation_cell import AUROC, RESULT, RUN, Plan
from igcl_lightning.protocols.ablation_report import Finished, write_report
from igcl_lightning.protocols.ablation_table import REPORTED_SEED, Row, Table, read_table
from igcl_lightning.protocols.cells import Cell, digest, read_json, run_cells
from igcl_lightning.protocols.phantom_stores import prepare_phantoms
from igcl_lightning.protocols.pretraining import epoch_words, folder_words
from igcl_lightning.quiet import quiet
from igcl_lightning.training.lightning_cli import check, import_modules

CELLS, REPORTED = "cells", "reported"
CHILD = "from igcl_lightning.protocols.ablation_cell import main; main()"


class PlannedRun(NamedTuple):
    """One run of a table: a row and a seed, and what to do."""

    row: str
    seed: int
    folder: Path
    plan: Plan

    @property
    def cell(self) -> Cell:
        """The run as a cell to work on."""
        return Cell(f"{self.row}, seed {self.seed}", self.folder, asdict(self.plan))

    @property
    def finished(self) -> bool:
        """Whether there is a result of everything that is asked, with these settings."""
        return self._stands(self.plan.settings)

    @property
    def result(self) -> dict[str, Any] | None:
        """The result with these settings, whether or not the reported hard negatives are part of it."""
        needed = {part: value for part, value in self.plan.settings.items() if part != REPORTED}
        return read_json(self.folder / RESULT) if self._stands(needed) else None

    def _stands(self, settings: Mapping[str, str]) -> bool:
        made = read_json(self.folder / RESULT).get("settings")
        return isinstance(made, dict) and settings.items() <= made.items()


def ablate(
    table_name: str,
    out: Path,
    *,
    jobs: int = 1,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
    report: bool = False,
    modules: Sequence[str] = (),
) -> bool:
    """Run the cells of a table that are not finished, print all that are, and return whether none failed.

    Args:
        table_name: file of the table (see `ablation_table.Table`).
        out: folder of the results; finished cells with the same settings are kept.
        jobs: cells that run at once, with one thread each if more than one.
        only: names of the rows to run (default: all).
        seeds: seeds of all rows, instead of the table's.
        report: ask for the hard negatives that are reported once, too.
        modules: modules to import first.

    Raises:
        IgclError, UsageError: the table or the options of a row are wrong; raised before anything is trained.
    """
    if jobs < 1:
        raise IgclError(f"--jobs is {jobs}, not at least 1")
    import_modules(modules)
    table = read_table(table_name)
    _check_folder(out)
    for name in only:
        names = [row.name for row in table.rows]
        if name not in names:
            raise IgclError(f"--only: no row {name!r}{suggestion(name, names)} in {table_name}")
    if seeds:
        table = replace(table, rows=[replace(row, seeds=list(seeds)) for row in table.rows])
    merged = {row.name: _checked(row, table) for row in table.rows}
    stores = _stores(table, out, jobs, report)
    runs = [
        _planned(row, seed, table, merged[row.name], stores, out, modules)
        for row in table.rows
        for seed in (table.seeds if row.seeds is None else row.seeds)
    ]
    asked = [run for run in runs if not only or run.row in only]
    failed = run_cells([run.cell for run in asked if not run.finished], jobs, CHILD)
    _report(table, runs, stores, out)
    return not failed


def _check_folder(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / CELLS).is_dir():
        raise IgclError(f"{out}: not empty and not an earlier table; choose another --out")


def _words(row: Row, table: Table) -> list[str]:
    """Return the options of `igcl fit` for a row, without seed and folders."""
    words = ["--config", str(row.config or table.config)]
    words += epoch_words(row.epochs or table.epochs)
    return [*words, *(f"--{name}={_as_word(value)}" for name, value in row.options.items())]


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _checked(row: Row, table: Table) -> str:
    """Return the merged options of a row as YAML; `IgclError` that names the row if `igcl fit` refuses them."""
    try:
        with quiet():
            return check(["fit", *_words(row, table), *folder_words(Path("CELL"), Path("CELL", RUN), "STORE")])
    except (IgclError, UsageError) as error:
        raise IgclError(f"row {row.name!r}: {error.message if isinstance(error, UsageError) else error}") from error


def _stores(table: Table, out: Path, jobs: int, report: bool) -> dict[str, Path]:
    """Prepare the stores of a table that are missing, and return all: "pairs", "validation", "reported"."""
    size, studies = table.store.size, table.hard_negatives.studies
    folder, stores = out / "stores", {}
    if table.store.path is None:
        stores["pairs"] = folder / f"phantom-{table.store.studies}-{size}px"
        prepare_phantoms(stores["pairs"], table.store.studies, size, jobs)
    else:
        stores["pairs"] = Path(table.store.path)
    wanted = {"validation": table.hard_negatives.validation_seed, **({REPORTED: REPORTED_SEED} if report else {})}
    for name, seed in wanted.items() if studies else ():
        stores[name] = folder / f"hard_negatives-{studies}-{size}px-seed{seed}"
        prepare_phantoms(stores[name], studies, size, jobs, variant="hard_negatives", seed=seed)
    return stores


def _planned(
    row: Row, seed: int, table: Table, merged: str, stores: Mapping[str, Path], out: Path, modules: Sequence[str]
) -> PlannedRun:
    fingerprints = {name: Store(path).fingerprint for name, path in stores.items()}
    pairs = fingerprints.pop("pairs")
    settings = {
        "pretraining": digest(merged, seed, pairs, __version__),
        "probe": digest(asdict(table.probe), pairs, AUROC),
        "counterfactuals": digest(table.counterfactuals, pairs),
        **{name: digest(fingerprint) for name, fingerprint in fingerprints.items()},
    }
    plan = Plan(
        words=[*_words(row, table), f"--seed_everything={seed}"],
        modules=modules,
        store=str(stores["pairs"]),
        hard_negatives={name: str(path) for name, path in stores.items() if name != "pairs"},
        counterfactuals=table.counterfactuals,
        fractions=table.probe.fractions,
        draws=table.probe.draws,
        splits=table.probe.splits,
        settings=settings,
    )
    return PlannedRun(row.name, seed, out / CELLS / f"{row.name}-{seed}", plan)


def _report(table: Table, runs: Sequence[PlannedRun], stores: Mapping[str, Path], out: Path) -> None:
    """Print the finished runs, and name the others."""
    finished = [Finished(run.row, run.seed, result) for run in runs if (result := run.result) is not None]
    if missing := [f"{run.row} (seed {run.seed})" for run in runs if not run.finished]:
        say(f"not finished: {', '.join(missing)}")
    if finished:
        names = {name: path.name for name, path in stores.items()}
        say(f"\n{write_report(finished, table.versus, names, out)}\n")
        write_closing({"folder": str(out), "files": "results.json, table.md"})
