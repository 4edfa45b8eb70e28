"""Results of a table of pretraining runs: flat records, and the table as text and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from igcl_lightning.atomic import replacing
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, compare_runs, write_results
from igcl_lightning.evaluation.tables import (
    aligned,
    as_markdown,
    format_cell,
    method_name,
    setting_name,
)
from igcl_lightning.evaluation.within_patient import METRIC, summarise_choices
from igcl_lightning.graphs.counterfactuals import KINDS
from igcl_lightning.protocols.ablation_cell import AUROC, answers_of
from igcl_lightning.protocols.hard_negatives import Answers

PROTOCOL = "ablate"
TWINS = "counterfactual_accuracy"
SECONDS = "seconds_per_epoch"
BLIND = "_blind"
CAPTIONS = {
    "global": "global, local, both: right report among two of one patient, by this score; blind: without the image",
    "side": "side, ...: report told from its counterfactual of this kind; these and blind by the last score",
    "probe": "probe: mean AUROC on test rows, or on those of the split that is named",
    "s/epoch": "s/epoch: seconds of training, to compare only if nothing else ran on the machine",
}
"""Lines above a table, by a column that they explain."""

LAST_CAPTION = (
    "mean over seeds [95 % interval over patients]; n: images asked, or rows scored by the probe, of each run"
)


class Finished(NamedTuple):
    """A finished cell."""

    row: str
    seed: int
    result: Mapping[str, Any]


def write_report(
    finished: Sequence[Finished], versus: Sequence[tuple[str, str]], stores: Mapping[str, str], out: Path
) -> str:
    """Write `results.json` and `table.md`, and return the table as text.

    Args:
        finished: the finished cells.
        versus: pairs of rows (method, other) whose differences are reported.
        stores: names of the stores: "pairs", and of hard negatives "validation" and "reported".
        out: folder to write into.
    """
    pairs = stores["pairs"]
    shared = [
        *_twin_records(finished, pairs, versus),
        *_probe_records(finished, pairs, versus),
        *_seconds(finished, pairs),
    ]
    asked = {
        name: _choice_records(_answers(finished, "choices", name), METRIC, versus, store=store, group=name)
        for name, store in stores.items()
        if name != "pairs"
    }
    write_results([*(record for records in asked.values() for record in records), *shared], out / "results.json")
    blocks = [block for name, records in asked.items() for block in _blocks(name, [*records, *shared])]
    blocks = blocks or _blocks("probe", shared)
    caption = _caption(blocks)
    markdown = "\n".join(as_markdown(block) for block in blocks)
    with replacing(out / "table.md") as temporary:
        temporary.write_text(f"{caption}\n\n{markdown}", encoding="utf-8")
    return "\n\n".join([caption, *map(aligned, blocks)])


def _caption(blocks: Sequence[Sequence[Sequence[str]]]) -> str:
    """Return the lines that explain the columns of some tables."""
    titles = {title for block in blocks for title in block[0][1:]}
    kinds = {"side" if title in KINDS else title.partition(" ")[0] for title in titles}
    return "\n".join([*(line for kind, line in CAPTIONS.items() if kind in kinds), LAST_CAPTION])


def _answers(finished: Sequence[Finished], part: str, name: str) -> dict[Run, dict[str, Answers]]:
    """Return the answers by run and score in one part of the results; runs without any are left out."""
    asked = {_run(cell): cell.result[part].get(name) or {} for cell in finished}
    return {
        run: {score: answers_of(plain) for score, plain in scores.items()} for run, scores in asked.items() if scores
    }


def _choice_records(
    asked: Mapping[Run, Mapping[str, Answers]], name: str, versus: Sequence[tuple[str, str]], **about: Any
) -> list[Record]:
    """Return the accuracies by each score, their differences, and their blind controls; metrics begin with `name`.

    Where the other row of a difference lacks a score, its last one stands in: local scores are compared with global
    pooling.
    """
    about |= {"protocol": PROTOCOL, "split": "test"}
    records: list[Record] = []
    controls: list[Record] = []
    for score in dict.fromkeys(score for each in asked.values() for score in each):
        having = {run: each[score] for run, each in asked.items() if score in each}
        own = {run: each.get(score, [*each.values()][-1]).own for run, each in asked.items()}
        metric, methods = f"{name}_{score}", {run.method for run in having}
        pairs = [pair for pair in versus if pair[0] in methods]
        compared = summarise_choices(own, versus=pairs, metric=metric, **about)
        records += [record for record in compared if record["method"] in methods]
        blind = {run: each.blind for run, each in having.items()}
        controls += summarise_choices(blind, metric=metric + BLIND, **about)
    return records + controls


def _twin_records(finished: Sequence[Finished], store: str, versus: Sequence[tuple[str, str]]) -> list[Record]:
    """Return the records of reports told apart from counterfactuals, by kind."""
    kinds = dict.fromkeys(kind for cell in finished for kind in cell.result["counterfactuals"])
    return [
        record
        for kind in kinds
        for record in _choice_records(
            _answers(finished, "counterfactuals", kind), f"{TWINS}_{kind}", versus, store=store
        )
    ]


def _probe_records(finished: Sequence[Finished], store: str, versus: Sequence[tuple[str, str]]) -> list[Record]:
    """Return the mean AUROC of the linear probes by split and labelled share, with differences."""
    records: list[Record] = []
    for split, first in finished[0].result["probe"].items():
        by_run = {
            _run(cell)._replace(fraction=float(fraction)): np.array(values)
            for cell in finished
            for fraction, values in cell.result["probe"][split][AUROC].items()
        }
        about = {"n": first["rows"], "protocol": PROTOCOL, "store": store, "split": split}
        records += compare_runs(by_run, versus, metric="auroc", **about)
    return records


def _seconds(finished: Sequence[Finished], store: str) -> list[Record]:
    by_run = {_run(cell): np.array([cell.result[SECONDS]]) for cell in finished}
    return compare_runs(by_run, (), n=0, protocol=PROTOCOL, store=store, split="train", metric=SECONDS)


def _run(cell: Finished) -> Run:
    return Run(cell.row, None, None, cell.seed)


def _blocks(name: str, records: Sequence[Record]) -> list[list[list[str]]]:
    """Return the table of the methods and that of the differences, each as rows of cells with a first row of titles."""
    seeds = Counter(
        record["method"] for record in records if record["metric"] == SECONDS and record["seed"] is not None
    )
    means = [record for record in records if record["seed"] is None]
    values: dict[str, dict[str, str]] = {}
    apart: dict[str, dict[str, str]] = {}
    for record in means:
        rows = values if record["versus"] is None else apart
        rows.setdefault(method_name(record), {})[_title(record)] = _cell(record)
    for method, row in values.items():
        row["seeds"] = str(seeds[method])
    if values:
        values["n"] = {_title(record): f"{record['n']:,}" for record in means if record["n"]}
    titles = [*dict.fromkeys(map(_title, means)), "seeds"]
    return [_table(corner, titles, rows) for corner, rows in ((name, values), (f"{name}, differences", apart)) if rows]


def _title(record: Record) -> str:
    """Return the title of a record's column; scores that share one leave that of the last."""
    metric = record["metric"]
    blind = metric.endswith(BLIND)
    if metric.startswith(TWINS):
        kind = metric.removeprefix(f"{TWINS}_").partition("_")[0]
        return f"{kind} blind" if blind else kind
    if blind:
        return "blind"
    if metric == SECONDS:
        return "s/epoch"
    if metric == "auroc":
        split = "" if record["split"] == "test" else f", {record['split']}"
        return f"probe {setting_name(record)}{split}"
    return metric.removeprefix(f"{METRIC}_")


def _cell(record: Record) -> str:
    return f"{record['value']:.1f}" if record["metric"] == SECONDS else format_cell(record)


def _table(corner: str, titles: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    columns = [title for title in titles if any(title in row for row in rows.values())]
    return [[corner, *columns], *([name, *(row.get(title, "") for title in columns)] for name, row in rows.items())]
