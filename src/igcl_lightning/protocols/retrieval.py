"""Retrieval over a whole split of a store: each image's report among all, each report's image among all."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.retrieval import POOLS, Answers, format_retrieval, summarise_retrieval
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.metrics.ranking import (
    Pool,
    Strip,
    backwards,
    joined_ids,
    label_precision,
    reranked,
    search,
)
from igcl_lightning.metrics.retrieval import take_rows
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.contrastive import ContrastiveModule, contrasts_reports
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.matching import SCORES
from igcl_lightning.nn.scoring import Scorer, cosine_similarity
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.hard_negatives import matched_pairs
from igcl_lightning.protocols.pictures import Examples, Picture, as_jpeg, radiograph
from igcl_lightning.protocols.protocol import Part, Protocol, check_score, compared, seeds_of

K = (1, 5, 10)
SHORTLIST = 1000
"""Candidates of a query that a local score orders anew after a search by cosines."""

SHOWN = 3
"""Nearest reports that are kept, to be shown."""

COLUMNS_VERSION = 2
"""Version of the columns that `measure` returns: 2 has rows, and what they found."""

MOST_EXAMPLES = 4
LETTERS = 240
EXAMPLES = (
    "The first image of the first patients, however well it went, with its own report and the nearest of all. "
    "A report matches if it has the same words or its graph states the same."
)

GLOBAL = SCORES[0]


@dataclass(frozen=True)
class Retrieval(Protocol):
    """Each image's report among all of a split, and each report's image (see `retrieval_answers`).

    Args:
        score: "global", "local" or "both" (default: the score of each model's own retrieval).
        k: numbers of nearest candidates.
        keep_empty: whether pairs whose report has no words are in the pool.
    """

    score: str | None = None
    k: list[int] = field(default_factory=lambda: [*K])
    keep_empty: bool = False

    name: ClassVar[str] = "retrieval"

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other protocols do, and for a split without reports."""
        super().check(store, contestants)
        check_score(self.name, self.score, contestants)
        if not self.k or min(self.k) < 1:
            raise IgclError(f"protocol retrieval: k are {self.k}, not numbers of at least 1")
        for split in self.splits:
            _pooled(store, split, self.keep_empty)

    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it reads reports."""
        return "" if contestant.side else "reads no reports, so it cannot retrieve them"

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return a line for each query: split, direction, patient, and by pool the rank and the precisions."""
        module: Any = BaseModule.load_from_checkpoint(str(contestant.checkpoint), map_location="cpu")
        asked: dict[str, Any] = {"score": self.score, "k": self.k, "labels": self.labels, "keep_empty": self.keep_empty}
        answers = [(split, retrieval_answers(module, store.path, split=split, **asked)) for split in self.splits]
        return pd.concat([_lines(each, split) for split, both in answers for each in both], ignore_index=True)

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return recall, median rank and precision with differences, and their tables."""
        versus = compared(measured)
        records: list[Record] = []
        for split in self.splits:
            answers = {
                Run(each.method, None, None, each.seed): _answers_of(lines[lines["split"] == split], tuple(self.k))
                for each, lines in measured.items()
            }
            about: dict[str, Any] = {"store": store.path.name, "split": split}
            records += summarise_retrieval(answers, versus=versus, **about)
        return records, format_retrieval(records, seeds_of(measured))

    def examples(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> list[Examples]:
        """Return the first images of a few patients with the reports that the first contestant finds nearest."""
        contestant, lines = next(iter(measured.items()))
        own = lines[(lines["split"] == self.splits[0]) & lines["direction"].str.startswith("image_to_")]
        asked = own.drop_duplicates("patient").head(MOST_EXAMPLES)
        pictures = [_example(line, len(own), store) for line in asked.to_dict("records")]
        return (
            [Examples(f"Reports that {contestant.title} finds", EXAMPLES, pictures, reports=True)] if pictures else []
        )

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options, and the version of the columns."""
        return super().settings(contestant, part) | {"columns": COLUMNS_VERSION}


def _example(line: Mapping[Hashable, Any], pool: int, store: Store) -> Picture:
    """Return an image with its own report and the nearest ones."""
    row = stable_hash(line["row"])
    text = [(f"own report: rank {line['rank']} of {pool:,}", _report(store, row))]
    for place in range(1, SHOWN + 1):
        if found := line[f"found@{place}"]:
            kind = "own report" if found == line["row"] else "matches" if line[f"right@{place}"] else "other report"
            text.append((f"{place}. {kind}", _report(store, stable_hash(found))))
    alt = f"Radiograph whose own report has rank {line['rank']}"
    return Picture("Image and nearest reports", alt, as_jpeg(radiograph(store, row)), text)


def _report(store: Store, row: int) -> str:
    return textwrap.shorten(store.report_text(row), LETTERS, placeholder=" ...") or "(no words)"


def _lines(answers: Answers, split: str) -> pd.DataFrame:
    """Return the answers of one direction as a table."""
    table: dict[str, Any] = {"split": split, "direction": answers.direction, "patient": answers.patient}
    table["row"] = answers.row
    names = np.append(answers.row, "")  # the last stands for -1: no more
    for place in range(SHOWN):
        table[f"found@{place + 1}"] = names[answers.nearest[:, place]]
        table[f"right@{place + 1}"] = answers.right[:, place]
    for pool, end in enumerate(POOLS):
        table[f"rank{end}"] = answers.rank[pool]
        for (place, k), (label, name) in product(enumerate(answers.k), enumerate(answers.labels)):
            table[f"precision@{k}{end} {name}"] = answers.precision[pool, :, place, label]
    return pd.DataFrame(table)


def _answers_of(lines: pd.DataFrame, k: tuple[int, ...]) -> list[Answers]:
    """Return the answers that a table holds, one for each direction."""
    start = f"precision@{k[0]} "
    labels = tuple(name.removeprefix(start) for name in lines.columns if name.startswith(start))
    answers = []
    for direction, own in lines.groupby("direction", sort=False):
        names = [[[f"precision@{each}{end} {label}" for label in labels] for each in k] for end in POOLS]
        precision = [[own[by_label].to_numpy(np.float32) for by_label in by_k] for by_k in names]
        rank = own[[f"rank{end}" for end in POOLS]].to_numpy(np.int64).T
        shape = len(POOLS), len(k), len(own), len(labels)
        by_query = np.array(precision, np.float32).reshape(shape).swapaxes(1, 2)
        answers.append(Answers(str(direction), own["patient"].to_numpy(), rank, k, by_query, labels))
    return answers


def retrieval_answers(
    module: ContrastiveModule,
    store: str | Path,
    *,
    split: str = "test",
    score: str | None = None,
    k: Sequence[int] = K,
    labels: Sequence[str] | None = None,
    keep_empty: bool = False,
    batch_size: int = 64,
) -> list[Answers]:
    """Return what a module finds in a split, from its first side to its second and back, for `summarise_retrieval`.

    Pairs match if they are of one study, if their reports have the same text, or if their graphs state the same, and
    if both match a third. A report without words matches its own image only. This depends on the store alone, so that
    the answers of all modules compare. A local score orders the 1,000 nearest by the cosine of the embeddings, or all
    pairs if there are no more or if the module does not train that cosine.

    Args:
        module: pretrained module that reads reports.
        store: prepared store.
        split: split that is searched as a whole.
        score: one of `module.score_names` (default: that of the module's own retrieval).
        k: numbers of nearest candidates.
        labels: labels of precision at k (default: the classes of a 5x200 set, otherwise all labels of the store).
        keep_empty: whether pairs whose report has no words are in the pool.
        batch_size: pairs encoded at once.

    Raises:
        IgclError: the module reads no reports, the score, split or a label is unknown, or the pool is empty.
    """
    if not contrasts_reports(module):
        raise IgclError(f"{type(module).__name__} reads no reports: it cannot retrieve them")
    if score is not None:
        check_choice("score", score, module.score_names)
    opened = Store(store)
    kept = _pooled(opened, split, keep_empty)
    names, target = _labels(opened, split, labels, kept)
    pairs = matched_pairs(module, Path(store), batch_size, split)
    place = np.array([opened.rows[row][1] for row in pairs.row.tolist()])
    rows = torch.from_numpy(np.flatnonzero(kept[place]))
    place = place[kept[place]]
    row = np.array(opened.column(split, "row"), dtype=object)[place]
    pool = _pool(opened, split, place, target)
    patient = pairs.patient[rows].numpy()
    sides = take_rows(pairs.first, rows), take_rows(pairs.second, rows)
    strips = _strips(module, sides, score)
    one, other = module.sides
    directions = f"{one}_to_{other}", f"{other}_to_{one}"
    with module.evaluating():
        return [
            _answers(name, strip, pool, patient, tuple(k), names)._replace(row=row)
            for name, strip in zip(directions, strips, strict=True)
        ]


def _pooled(store: Store, split: str, keep_empty: bool) -> NDArray[np.bool_]:
    """Return which rows of a split are in the pool, bool [N]; `IgclError` if none is."""
    kept: NDArray[np.bool_] = store.stating(split, "report") | keep_empty
    if not kept.any():
        raise IgclError(f"{store.path}: no row of {split} has a report; nothing to retrieve")
    return kept


def _answers(
    direction: str, strip: Strip, pool: Pool, patient: NDArray[np.int64], k: tuple[int, ...], labels: tuple[str, ...]
) -> Answers:
    found = search(strip, pool, max(SHOWN, *(k if labels else ())))
    precision = [label_precision(nearest, pool.target, k).numpy() for nearest in found.nearest]
    nearest = found.nearest[0, :, :SHOWN]  # of the pool with the own pair
    right = (nearest >= 0) & _match(pool, nearest)
    rank = found.rank.numpy()
    return Answers(
        direction, patient, rank, k, np.stack(precision), labels, nearest=nearest.numpy(), right=right.numpy()
    )


def _match(pool: Pool, nearest: Tensor) -> Tensor:
    """Return whether the pairs that were found match those that were asked, bool [N, S]."""
    own = torch.arange(len(nearest))[:, None]
    return (nearest == own) | ((pool.match[nearest] == pool.match[:, None]) & (pool.match[:, None] >= 0))


def _strips(module: ContrastiveModule, sides: tuple[Any, Any], score: str | None) -> tuple[Strip, Strip]:
    """Return the scores of each side's queries with all of the other side (see `Strip`)."""
    first, second = sides
    scorer = module.score if score is None else module.scorer(score)
    shortens = needs_shortlist(module, score) and trains_cosine(module)
    near = getattr(first, "embedding", None) if shortens else None
    if near is None or len(near) <= SHORTLIST:
        return _strip(first, second, scorer), _strip(second, first, backwards(scorer))
    return _shortlisted(first, second, scorer), _shortlisted(second, first, backwards(scorer))


def _strip(query: Any, candidate: Any, scorer: Scorer) -> Strip:
    return lambda at: scorer(take_rows(query, at), candidate)


def _shortlisted(query: Any, candidate: Any, scorer: Scorer) -> Strip:
    """Return the scores of a shortlist of each query's candidates; the cosines of the embeddings choose them."""

    def fine(one: Tensor, some: Tensor) -> Tensor:
        return scorer(take_rows(query, one[None]), take_rows(candidate, some))[0]

    return reranked(_strip(query.embedding, candidate.embedding, cosine_similarity), fine, SHORTLIST)


def needs_shortlist(module: ContrastiveModule, score: str | None = None) -> bool:
    """Return whether a score (default: that of the module's retrieval) is more than a cosine of the embeddings."""
    return (getattr(module, "score_name", GLOBAL) if score is None else score) != GLOBAL


def trains_cosine(module: ContrastiveModule) -> bool:
    """Return whether the cosine of the embeddings was trained, so that it may choose what another score orders."""
    matching = getattr(module, "matching", None)
    return matching is None or matching.global_weight > 0


def _labels(
    store: Store, split: str, wanted: Sequence[str] | None, kept: NDArray[np.bool_]
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return the labels that kept rows of a split have, and which row has each, bool [N, L]; unknown is not had."""
    classes = store.classes(split) if wanted is None else {}
    if classes:
        names = sorted(set(classes.values()))
        own = np.array([classes.get(row, "") for row in store.column(split, "row")], dtype=object)
        has = own[:, None] == np.array(names, dtype=object)
    else:
        names = list(store.labels if wanted is None else wanted)
        has = store.targets(split, names) == 1
    some = np.flatnonzero(has[kept].any(axis=0))
    return tuple(names[label] for label in some), has[:, some].astype(bool)


def _pool(store: Store, split: str, place: NDArray[np.int64], target: NDArray[np.bool_]) -> Pool:
    """Return what is known of some rows of a split; a report without words shares no id."""
    graph = store.files(split).data.column("graph")
    words = store.stating(split, "report")
    study = np.array([stable_hash(each) for each in store.column(split, "study")])
    text = np.array([stable_hash(each or "") for each in pc.struct_field(graph, "text").to_pylist()])
    key = pc.struct_field(graph, "key").to_numpy()
    ids = np.stack([np.where(words, each, -1) for each in (key, text, study)], axis=1)
    return Pool(
        joined_ids(torch.from_numpy(ids[place])), torch.from_numpy(study[place]), torch.from_numpy(target[place])
    )
