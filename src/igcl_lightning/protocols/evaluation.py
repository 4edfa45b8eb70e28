"""`igcl evaluate`, `igcl compare` and `igcl demo`: contestants by protocols, in one table.

OUT/store/, hard_negatives/    the phantoms, unless a store is given
OUT/NAME[-SEED]/               one contestant (see `evaluation_cell`)
OUT/report.html, predictions.parquet, results.json, plots/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from igcl_lightning import __version__
from igcl_lightning.closing import say_progress
from igcl_lightning.data.masks import mask_names
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError, suggestion, write_message
from igcl_lightning.phantom import LABELS
from igcl_lightning.protocols.cells import Cell, digest, read_json, run_cells, write_json
from igcl_lightning.protocols.contestants import (
    BASELINES,
    SUPERVISED,
    Contestant,
    baseline,
    check_names,
    check_pairs,
    from_checkpoint,
    from_encoder,
    from_row,
    to_pretrain,
)
from igcl_lightning.protocols.evaluation_cell import Plan, Task, noted
from igcl_lightning.protocols.evaluation_page import Page
from igcl_lightning.protocols.evaluation_report import Measured, write_report
from igcl_lightning.protocols.evaluation_table import Table, check_baselines, read_protocols, read_table
from igcl_lightning.protocols.phantom_stores import prepare_phantoms
from igcl_lightning.protocols.pretraining import PRETRAINED
from igcl_lightning.protocols.pretraining_cost import pretraining_cost
from igcl_lightning.protocols.protocol import Protocol, file_name
from igcl_lightning.protocols.rows import Row
from igcl_lightning.protocols.wandb_run import check_account, log_evaluation
from igcl_lightning.training.lightning_cli import import_modules
from igcl_lightning.training.options import plain_key

CHILD = "from igcl_lightning.protocols.evaluation_cell import main; main()"
MARKER = ".evaluation"
FAST_STUDIES, FAST_HARD_NEGATIVES, FAST_EPOCHS = 240, 40, 1
FAST_BATCH = 2
"""Pairs in a batch of a fast run's rows that train on a share of its phantoms, of which 1 % are two."""


@dataclass(frozen=True)
class Request:
    """What to evaluate; the attributes are the options of `igcl evaluate`.

    Attributes:
        out: folder of the results; finished parts with the same settings are kept.
        table: file of the table (see `evaluation_table.Table`), whose values the following replace.
        protocols, train, baselines: as in a table.
        rows: names of the rows of the table to pretrain and evaluate (default: all).
        pairs: store that rows are pretrained on (default: that of the table, or the one that is evaluated).
        store: prepared store (default: new phantoms).
        checkpoints: pretraining checkpoints, as [NAME[:SEED]=]CKPT.
        encoders: encoders by name or files of features, as [NAME=]ENC.
        labels: labels to evaluate (default: those of the protocols).
        seed: seed of the methods to train that name none, and of all rows.
        fast: a small, fast run of every step.
        jobs: contestants at once, with one thread each if more than one.
        modules: modules to import first.
        images: whether the page has images and reports of a store that is not of phantoms.
        wandb: project of Weights & Biases that gets the table, the figures and the page, None for none.
        words: words of the command line, for the page.
    """

    out: Path
    table: str | None = None
    protocols: Sequence[str] | None = None
    train: Sequence[str] | None = None
    baselines: Sequence[str] | None = None
    rows: Sequence[str] = ()
    pairs: Path | None = None
    store: Path | None = None
    checkpoints: Sequence[str] = ()
    encoders: Sequence[str] = ()
    labels: Sequence[str] | None = None
    seed: int | None = None
    fast: bool = False
    jobs: int = 1
    modules: Sequence[str] = ()
    images: bool = False
    wandb: str | None = None
    words: Sequence[str] = ()


def evaluate(request: Request) -> bool:
    """Measure what is not measured yet, print the table of all that is, and return whether none failed.

    Raises:
        IgclError, UsageError: an option is wrong, a contestant cannot be built, a row has too few pairs, or a protocol
            cannot ask a store or any contestant; raised before anything is trained.
    """
    if request.jobs < 1:
        raise IgclError(f"--jobs is {request.jobs}, not at least 1")
    if request.wandb is not None:
        check_account()
    import_modules(request.modules)
    table = _table(request)
    protocols = read_protocols(table.protocols, request.labels, request.fast)
    _check_labels(request)
    contestants = _contestants(request, table)
    asked = _asked(protocols, contestants)
    contestants = [each for each in contestants if each in asked]  # some protocols have no use for a baseline
    if table.pairs is not None:
        Store(table.pairs)  # fail now if there is none
    _claim(request, table)
    stores = _stores(request, table, protocols)
    for protocol in protocols:
        protocol.check(Store(stores[protocol.name]), [each for each in contestants if protocol in asked[each]])
    pairs = Path(table.pairs or request.store or request.out / "store")
    plans = {each: _plan(each, asked[each], stores, pairs, request.modules) for each in contestants}
    cells = [Cell(each.title, request.out / each.title, asdict(plan)) for each, plan in plans.items()]
    unfinished = [cell for cell, plan in zip(cells, plans.values(), strict=True) if not _finished(cell, plan)]
    if len(cells) > len(unfinished):
        say_progress(f"measured before: {', '.join(cell.title for cell in cells if cell not in unfinished)}")
    waiting = {cell.plan["contestant"]["method"] for cell in unfinished}
    for row in (each for each in table.rows if each.name in waiting):
        check_pairs(row, str(pairs))
    failed = run_cells(_longest_first(unfinished, plans), request.jobs, CHILD)
    measured = _measured(plans, protocols, request.out)
    rows = {each: request.out / each.title for each in contestants if each.method in {row.name for row in table.rows}}
    cost = pretraining_cost(rows, pairs.name)
    write_report(protocols, measured, stores, request.out, Page(request.words, request.images), cost)
    if request.wandb is not None:
        log_evaluation(request.wandb, request.out)
    return not failed and not any(each.missing for each in measured.values())


def _table(request: Request) -> Table:
    """Return the table with the options that replace its values."""
    table = Table() if request.table is None else read_table(request.table)
    given: dict[str, Any] = {"protocols": request.protocols, "train": request.train, "baselines": request.baselines}
    chosen: dict[str, Any] = {name: list(value) for name, value in given.items() if value is not None}
    table = replace(table, **chosen)
    if request.fast:
        few = replace(table.phantoms, studies=FAST_STUDIES, hard_negatives=FAST_HARD_NEGATIVES)
        table = replace(table, phantoms=few)
    if request.pairs is not None:
        table = replace(table, pairs=str(request.pairs))
    table = replace(table, rows=_rows(request, table))
    if table.pairs is not None and not table.rows:
        raise IgclError("--pairs is the store that rows of a table are pretrained on, and there are none")
    if request.store is not None:
        if request.train:
            raise IgclError("--train pretrains on phantoms only; for your own store use `igcl fit`, then --checkpoint")
        if table.train:
            say_progress(f"left out: {', '.join(table.train)}; only phantoms are trained on")
        kept = [name for name in table.protocols if request.protocols or name != "hard_negatives"]
        if len(kept) < len(table.protocols):
            say_progress(
                "left out: hard_negatives, which has phantoms of its own; --protocol hard_negatives asks the store"
            )
        table = replace(table, train=[], protocols=kept)
    if request.seed is not None and not (table.train or table.rows):
        raise IgclError("--seed is the seed of pretraining, and nothing is pretrained here; leave it out")
    if not table.protocols:
        raise IgclError("nothing to ask: give --protocol")
    check_baselines(table.baselines)
    return table


def _rows(request: Request, table: Table) -> list[Row]:
    """Return the rows that are asked for, with what the options say of their seeds and epochs."""
    names = [row.name for row in table.rows]
    for name in request.rows:
        if name not in names:
            raise IgclError(f"--row: no row {name!r}{suggestion(name, names) or f', only {_listed(names)}'}")
    changed: dict[str, Any] = {} if request.seed is None else {"seeds": [request.seed]}
    rows = [replace(row, **changed) for row in table.rows if not request.rows or row.name in request.rows]
    few_pairs = request.store is None and table.pairs is None
    return [_fast(row, few_pairs) for row in rows] if request.fast else rows


def _fast(row: Row, few_pairs: bool) -> Row:
    """Return a row of a small, fast run: one epoch, one seed, and batches that a share of few pairs fills."""
    shared = few_pairs and any(plain_key(option) == "data.fraction" for option in row.options)
    options = {**row.options, **({"data.batch_size": FAST_BATCH} if shared else {})}
    return replace(row, options=options, epochs=FAST_EPOCHS, seeds=(row.seeds or [])[:1])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _check_labels(request: Request) -> None:
    if request.store is None:
        available: list[str] = [*LABELS]
    else:
        store = Store(request.store)
        available = [*store.labels, *mask_names(store)]  # segmentation takes the names of masks
    for label in request.labels or ():
        if label not in available:
            only = ", ".join(available) or "none"
            raise IgclError(f"--labels: no label {label!r}{suggestion(label, available) or f', only {only}'}")


def _contestants(request: Request, table: Table) -> list[Contestant]:
    """Return the contestants of a table, baselines last."""
    epochs = FAST_EPOCHS if request.fast else None
    contestants = [
        *map(from_checkpoint, request.checkpoints),
        *map(from_encoder, request.encoders),
    ]
    check_names(contestants)
    rows = [each for row in table.rows for each in from_row(row)]
    contestants = [*rows, *(to_pretrain(word, request.seed, epochs) for word in table.train), *contestants]
    if not contestants:
        raise IgclError("nothing to compare: give --checkpoint, --encoder, or a --table with rows")
    check_names(contestants)
    words = sorted(table.baselines, key=lambda word: BASELINES.index(word.partition(":")[0]))
    baselines = [baseline(word, contestants) for word in words]
    if None in baselines:
        lacking = [word for word, found in zip(words, baselines, strict=True) if found is None]
        say_progress(f"left out: {', '.join(lacking)}; no model names a backbone for them")
    return [*contestants, *(each for each in baselines if each is not None)]


def _asked(protocols: Sequence[Protocol], contestants: Sequence[Contestant]) -> dict[Contestant, list[Protocol]]:
    """Return the protocols that can ask each contestant.

    Raises:
        IgclError: no protocol can ask a contestant, or a protocol none of them.
    """
    why = {(each, protocol.name): protocol.why_not(each) for each in contestants for protocol in protocols}
    asked = {each: [one for one in protocols if not why[each, one.name]] for each in contestants}
    for contestant in contestants:
        if not asked[contestant] and not contestant.baseline:
            reason = why[contestant, protocols[0].name]
            raise IgclError(f"{contestant.title}: {reason}; no use for it in {_names(protocols)}")
    for protocol in protocols:
        if not any(protocol in each for each in asked.values()):
            first = contestants[0]
            raise IgclError(f"--protocol {protocol.name}: {first.title} {why[first, protocol.name]}")
    for contestant in [each for each, found in asked.items() if not found]:
        say_progress(f"left out: {contestant.title}, which {why[contestant, protocols[0].name]}")
    return {each: found for each, found in asked.items() if found}


def _names(protocols: Sequence[Protocol]) -> str:
    return ", ".join(protocol.name for protocol in protocols)


def _claim(request: Request, table: Table) -> None:
    """Make the folder of the results; `IgclError` if it contains something else, or models of other phantoms."""
    out, phantoms = request.out, asdict(table.phantoms) if request.store is None else {}
    if out.exists() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise IgclError(f"{out}: not empty and not an earlier evaluation; choose another --out")
    made = read_json(out / MARKER)
    other = made.get("phantoms") and phantoms and made["phantoms"] != phantoms
    if other or made.get("fast", request.fast) != request.fast:
        how = f"with{'' if made['fast'] else 'out'} --fast" if made["fast"] != request.fast else "on other phantoms"
        raise IgclError(f"{out}: holds an evaluation {how}, which would be lost; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json({"fast": request.fast, "phantoms": phantoms or made.get("phantoms", {})}, out / MARKER)


def _stores(request: Request, table: Table, protocols: Sequence[Protocol]) -> dict[str, Path]:
    """Return the store of each protocol, after preparing phantoms if no store is given."""
    if request.store is not None:
        return {protocol.name: request.store for protocol in protocols}
    phantoms, store = table.phantoms, request.out / "store"
    prepare_phantoms(store, phantoms.studies, phantoms.size, request.jobs)
    stores = {}
    for protocol in protocols:
        seed = protocol.phantoms_seed
        folder = protocol.phantoms + (f"-{seed}" if seed else "")
        stores[protocol.name] = request.out / folder if folder else store
        if protocol.phantoms:
            drawn: dict[str, Any] = {"variant": protocol.phantoms, "seed": seed}
            prepare_phantoms(stores[protocol.name], phantoms.hard_negatives, phantoms.size, request.jobs, **drawn)
    return stores


def _plan(
    contestant: Contestant,
    protocols: Sequence[Protocol],
    stores: Mapping[str, Path],
    pairs: Path,
    modules: Sequence[str],
) -> Plan:
    weights = digest(contestant.identity, Store(pairs).fingerprint if contestant.words else "")
    tasks = [
        Task(
            file_name(protocol.name, part),
            protocol.name,
            str(stores[protocol.name]),
            part,
            digest(
                *(weights, protocol.name, protocol.settings(contestant, part), contestant.run_seed()),
                *(contestant.method, Store(stores[protocol.name]).fingerprint, __version__),
            ),
        )
        for protocol in protocols
        for part in protocol.parts(contestant)
    ]
    options = {protocol.name: asdict(protocol) for protocol in protocols}
    return Plan(asdict(contestant), str(pairs), weights, options, tasks, modules)


def _finished(cell: Cell, plan: Plan) -> bool:
    """Return whether all parts are measured, and what was pretrained is noted."""
    if plan.contestant["words"] and read_json(cell.folder / PRETRAINED).get("settings") != plan.pretraining:
        return False
    return all(noted(cell.folder / task.file).settings == task.settings for task in plan.tasks)


def _longest_first(cells: Sequence[Cell], plans: Mapping[Contestant, Plan]) -> list[Cell]:
    """Return the cells with those first that train the longest, so that all processes end at about one time."""
    trained = {each.title: 2 * bool(each.words) + (each.baseline == SUPERVISED) for each in plans}
    return sorted(cells, key=lambda cell: -trained[cell.title])


def _measured(plans: Mapping[Contestant, Plan], protocols: Sequence[Protocol], out: Path) -> dict[str, Measured]:
    """Return what is measured by protocol; repeats the warnings of its parts."""
    measured: dict[str, Measured] = {}
    for protocol in protocols:
        found = {each: [task for task in plan.tasks if task.protocol == protocol.name] for each, plan in plans.items()}
        files = {
            each: [(out / each.title / task.file, task) for task in tasks] for each, tasks in found.items() if tasks
        }
        done = {
            each: [path for path, _ in parts]
            for each, parts in files.items()
            if all(noted(path).settings == task.settings for path, task in parts)
        }
        for each, paths in done.items():
            for warning in dict.fromkeys(warning for path in paths for warning in noted(path).warnings):
                write_message("warning", f"{each.title}, {protocol.name}: {warning}")
        missing = [each.title for each in files if each not in done]
        left_out = {each.title: protocol.why_not(each) for each in plans if not each.baseline}
        told = {name: reason for name, reason in left_out.items() if reason}
        measured[protocol.name] = Measured(done, missing, told)
    return measured
