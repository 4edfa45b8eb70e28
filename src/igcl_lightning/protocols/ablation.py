"""`igcl ablate`: pretrain every cell of a table once, measure all in the same way, and print the table.

OUT/stores/                the phantoms, unless the table names a store
OUT/cells/NAME-SEED/       one cell (see `ablation_cell`)
OUT/results.json, table.md
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from igcl_lightning import __version__
from igcl_lightning.closing import write_closing
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_source
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.store import Store
from igcl_lightning.data.store_path import MANIFEST
from igcl_lightning.errors import IgclError, UsageError, suggestion, write_message
from igcl_lightning.protocols.ablation_cell import BUSY, PLAN, RESULT, Plan, folder_words, read_json, write_json
from igcl_lightning.protocols.ablation_report import Finished, write_report
from igcl_lightning.protocols.ablation_table import REPORTED_SEED, Row, Table, read_table
from igcl_lightning.protocols.children import run_children, start_child, why_failed
from igcl_lightning.protocols.equal_budget import quiet, say, say_progress
from igcl_lightning.training.lightning_cli import check, import_modules

CELLS, REPORTED = "cells", "reported"
CHILD = "from igcl_lightning.protocols.ablation_cell import main; main()"
STUDIES_PER_PROCESS = 256  # starting a process costs as much as preparing a few hundred studies


class Cell(NamedTuple):
    """One run of a table: a row and a seed, and what to do."""

    row: str
    seed: int
    folder: Path
    plan: Plan

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
    cells = [
        _cell(row, seed, table, merged[row.name], stores, out, modules)
        for row in table.rows
        for seed in (table.seeds if row.seeds is None else row.seeds)
    ]
    asked = [cell for cell in cells if not only or cell.row in only]
    failed = run_cells([cell for cell in asked if not cell.finished], jobs)
    _report(table, cells, stores, out)
    return not failed


def _check_folder(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / CELLS).is_dir():
        raise IgclError(f"{out}: not empty and not an earlier table; choose another --out")


def _words(row: Row, table: Table) -> list[str]:
    """Return the options of `igcl fit` for a row, without seed and folders."""
    words = ["--config", str(row.config or table.config)]
    epochs = row.epochs or table.epochs
    if epochs is not None:
        words += [f"--trainer.max_epochs={epochs}", f"--trainer.check_val_every_n_epoch={epochs}"]
    return [*words, *(f"--{name}={_as_word(value)}" for name, value in row.options.items())]


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _checked(row: Row, table: Table) -> str:
    """Return the merged options of a row as YAML; `IgclError` that names the row if `igcl fit` refuses them."""
    try:
        with quiet():
            return check(["fit", *_words(row, table), *folder_words(Path("CELL"), "STORE")])
    except (IgclError, UsageError) as error:
        raise IgclError(f"row {row.name!r}: {error.message if isinstance(error, UsageError) else error}") from error


def _stores(table: Table, out: Path, jobs: int, report: bool) -> dict[str, Path]:
    """Prepare the stores of a table that are missing, and return all: "pairs", "validation", "reported"."""
    source = partial(phantom_source, size=table.store.size, views="frontal")
    hard = partial(source, table.hard_negatives.studies, variant="hard_negatives")
    size, studies = table.store.size, table.hard_negatives.studies
    folder, stores = out / "stores", {}
    if table.store.path is None:
        stores["pairs"] = folder / f"phantom-{table.store.studies}-{size}px"
        _prepared(source(table.store.studies), stores["pairs"], size, jobs)
    else:
        stores["pairs"] = Path(table.store.path)
    wanted = {"validation": table.hard_negatives.validation_seed, **({REPORTED: REPORTED_SEED} if report else {})}
    for name, seed in wanted.items() if studies else ():
        stores[name] = folder / f"hard_negatives-{studies}-{size}px-seed{seed}"
        _prepared(hard(seed=seed), stores[name], size, jobs)
    return stores


def _prepared(source: Source, path: Path, size: int, jobs: int) -> None:
    """Prepare a store unless it stands; one of another version of the program is replaced."""
    options = Options(size=size, lossless=True, reparse=True)
    jobs = max(1, min(jobs, (source.total or 1) // STUDIES_PER_PROCESS))
    if not (path / MANIFEST).is_file():
        say_progress(f"prepare {path} ...")
    try:
        prepare(source, path, options=options, jobs=jobs, resume=True)
    except IgclError:
        if not (path / MANIFEST).is_file():
            raise
        prepare(source, path, options=options, jobs=jobs, overwrite=True)


def _cell(
    row: Row, seed: int, table: Table, merged: str, stores: Mapping[str, Path], out: Path, modules: Sequence[str]
) -> Cell:
    fingerprints = {name: Store(path).fingerprint for name, path in stores.items()}
    pairs = fingerprints.pop("pairs")
    settings = {
        "pretraining": _hash(merged, seed, pairs, __version__),
        "probe": _hash(asdict(table.probe), pairs),
        "counterfactuals": _hash(table.counterfactuals, pairs),
        **{name: _hash(fingerprint) for name, fingerprint in fingerprints.items()},
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
    return Cell(row.name, seed, out / CELLS / f"{row.name}-{seed}", plan)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def run_cells(cells: Sequence[Cell], jobs: int) -> list[Cell]:
    """Run cells, some at once, each in a process of its own, and return those that failed."""
    failed: list[Cell] = []
    left, start = len(cells), time.monotonic()

    def ended(cell: Cell, status: int) -> None:
        nonlocal left
        left -= 1
        if status:
            failed.append(cell)
            busy = "in use by another process; wait for it, then run this again"
            why = busy if status == BUSY else why_failed(_log(cell), status)
            write_message("error", f"{cell.row}, seed {cell.seed}: {why}")
        else:
            say_progress(_progress(cell, len(cells), left, time.monotonic() - start))

    run_children(cells, jobs, partial(_start, jobs=jobs), ended)
    return failed


def _start(cell: Cell, jobs: int) -> subprocess.Popen[bytes]:
    cell.folder.mkdir(parents=True, exist_ok=True)
    write_json(asdict(cell.plan), cell.folder / PLAN)
    return start_child(["-c", CHILD, str(cell.folder)], _log(cell), jobs)


def _log(cell: Cell) -> Path:
    return cell.folder / "log.txt"


def _progress(cell: Cell, cells: int, left: int, seconds: float) -> str:
    """Return the line of a finished cell; the time left is that of the cells so far, in proportion."""
    done = cells - left
    minutes = seconds / done * left / 60
    each = read_json(cell.folder / RESULT)["seconds"]
    return f"{done}/{cells} {cell.row}, seed {cell.seed}: {each:.0f} s; about {minutes:.0f} min left"


def _report(table: Table, cells: Sequence[Cell], stores: Mapping[str, Path], out: Path) -> None:
    """Print the finished cells, and name the others."""
    finished = [Finished(cell.row, cell.seed, result) for cell in cells if (result := cell.result) is not None]
    if missing := [f"{cell.row} (seed {cell.seed})" for cell in cells if not cell.finished]:
        say(f"not finished: {', '.join(missing)}")
    if finished:
        names = {name: path.name for name, path in stores.items()}
        say(f"\n{write_report(finished, table.versus, names, out)}\n")
        write_closing({"folder": str(out), "files": "results.json, table.md"})
