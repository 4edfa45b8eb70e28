"""Hard negatives: which report of a patient an image belongs to, where words and patient do not tell.

The phantom's `hard_negatives` are pairs of studies of one patient whose reports use the same words for different
places. Choose a model with those of another seed; report those of seed 0 once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.samples import PairBatch
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.many_rows import are_many, compared_rows, format_rows
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.tables import lacking
from igcl_lightning.evaluation.within_patient import (
    ASKED,
    BLIND,
    METRIC,
    Choices,
    format_choices,
    summarise_choices,
)
from igcl_lightning.metrics.retrieval import take_rows, within_patient_choices
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.matching import SCORES
from igcl_lightning.nn.scoring import Scorer, concatenate
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.protocol import Part, Protocol, check_score, compared, seeds_of

EACH = "each"
"""Option of a protocol for all scores that a model has, each apart."""

ENDS = {"own": "", "blind": BLIND}
"""End of the name of a metric, by the image that was seen."""

TITLES = {False: "accuracy", True: "without the image"}
"""Titles of the columns of many methods, by whether the image was that of another patient."""

TOGETHER = 64
"""Images scored at once, each with the reports of as many: a whole table of local scores would take minutes."""


class Answers(NamedTuple):
    """Choices between the reports of each patient, with the image and, as a control, without seeing it.

    `blind` asks the same questions with an image of the next patient. Its chance is one half too; more means that a
    model tells the reports apart by something other than the image.
    """

    own: Choices
    blind: Choices


class Matched(NamedTuple):
    """N pairs: both sides as `ContrastiveModule.matched` returns them, what each report states, and the patient.

    `graph_key` is an id of what the report states, int64 [N], -1 for nothing; `patient` and `row` are ids, int64 [N].
    """

    first: Any
    second: Any
    graph_key: Tensor
    patient: Tensor
    row: Tensor


@dataclass(frozen=True)
class HardNegatives(Protocol):
    """The right report among those of one patient, with the image and, as a control, with that of another patient.

    Args:
        score: "global", "local" or "both", or "each" of those that a model has, apart (default: the score of each
            model's own retrieval).
        seed: seed of the phantoms that are asked, where no store is given: choose on one, report on another.
    """

    score: str | None = None
    seed: int = 0

    name: ClassVar[str] = "hard_negatives"
    phantoms: ClassVar[str] = "hard_negatives"

    @property
    def phantoms_seed(self) -> int:
        """Seed of the phantoms that are asked."""
        return self.seed

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other protocols do, and for a split with fewer than two patients to ask about."""
        super().check(store, contestants)
        check_asked(self.name, self.score, contestants)
        if self.seed and store.manifest.get("source", {}).get("seed") != self.seed:
            only = "only phantoms that are made for the protocol have one; leave it out"
            raise IgclError(f"protocol hard_negatives: seed is {self.seed}, not that of {store.path}: {only}")
        for split in self.splits:
            table = pd.DataFrame({"patient": store.column(split, "patient"), "key": _keys(store, split)})
            several = table[table["key"] >= 0].groupby("patient")["key"].nunique() > 1
            if several.sum() < 2:
                found = f"{several.sum()} patients of {split} have reports that state different things"
                raise IgclError(f"{store.path}: {found}; the protocol hard_negatives needs two at least")

    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it reads reports."""
        return "" if contestant.side else "reads no reports to choose from"

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return a line for each image and score: split, whether it was seen, patient, right choices, choices."""
        module: Any = BaseModule.load_from_checkpoint(str(contestant.checkpoint), map_location="cpu")
        frames = []
        for split in self.splits:
            asked = matched_pairs(module, store.path, split=split)
            with module.evaluating():
                given = {name: answers(asked, score) for name, score in asked_scores(module, self.score).items()}
            frames.append(lines_of(given).assign(split=split))
        return pd.concat(frames, ignore_index=True)

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return accuracies with differences, those without seeing the image, and a line for each method."""
        versus = compared(measured)
        records, texts = [], []
        for split in self.splits:
            own = {each: lines[lines["split"] == split] for each, lines in measured.items()}
            about = {"protocol": self.name, "store": store.path.name, "split": split}
            found, said = report_choices(own, METRIC, ASKED, versus, **about)
            records += found
            texts += said
        return records, "\n\n".join(texts)


def check_asked(protocol: str, score: str | None, contestants: Sequence[Contestant]) -> None:
    """Raise `IgclError` for a score that there is not, or that a contestant does not have."""
    if score is not None:
        check_choice(f"protocol {protocol}: score", score, (*SCORES, EACH))
    if score != EACH:
        check_score(protocol, score, contestants)


def asked_scores(module: ContrastiveModule, score: str | None) -> dict[str, Scorer]:
    """Return the scores that a protocol asks by, by name; a single one needs none, "".

    Args:
        module: the model.
        score: option of the protocol (`HardNegatives.score`).
    """
    if score is None:
        return {"": module.score}
    return scorers(module) if score == EACH else {"": scorers(module)[score]}


def lines_of(given: Mapping[str, Answers]) -> pd.DataFrame:
    """Return the answers by score as a table with the columns score, image ("own", "blind"), patient, right, asked."""
    return pd.concat(
        [
            pd.DataFrame(choices._asdict()).assign(score=score, image=image)
            for score, both in given.items()
            for image, choices in both._asdict().items()
        ],
        ignore_index=True,
    )


def report_choices(
    lines: Mapping[Contestant, pd.DataFrame],
    metric: str,
    asked: str,
    versus: Sequence[tuple[str, str]],
    **about: str,
) -> tuple[list[Record], list[str]]:
    """Return by score the accuracies with differences, and those without seeing the image, as records and tables.

    In a difference by a score that one of the two methods lacks, its last one stands in: local scores are compared with
    a global one.

    Args:
        lines: what `lines_of` returns, by contestant.
        metric: name of the accuracy; that of a score and of the control follow it.
        asked: what the choices are between, for the tables.
        versus: pairs (method, other) for `method - other`.
        about: further fields of the records: protocol, store, split.
    """
    given = {Run(each.method, None, None, each.seed): own for each, own in lines.items()}
    scores = list(dict.fromkeys(name for own in given.values() for name in own["score"].unique()))
    records, found = [], {image: list[Record]() for image in ENDS}
    for score, (image, end) in product(scores, ENDS.items()):
        choices = {run: _choices_in(own, score, image) for run, own in given.items()}
        having = {run.method for run, own in given.items() if score in own["score"].array}
        compared = [pair for pair in versus if having.intersection(pair)] if image == "own" else []
        name = "_".join(filter(None, (metric, score))) + end
        made = summarise_choices(choices, versus=compared, metric=name, common_seeds=False, **about)
        made = [each for each in made if each["versus"] or each["method"] in having]
        found[image] += made
        records += made
    if scores == [""] and are_many(records):
        own = [each for each in records if each["seed"] is None]
        rows = compared_rows(own, seeds_of(lines), lambda each: TITLES[each["metric"].endswith(BLIND)])
        caption = "\n".join([f"{asked} [95 % interval over patients]", *lacking(own)])
        return records, [f"{caption}\n\n{format_rows(rows)}"]
    column = None if scores == [""] else _score_of
    texts = [format_choices(each, image == "blind", asked, column) for image, each in found.items()]
    apart = any(len(own["score"].unique()) < len(scores) for own in given.values())
    return records, [*texts, *["differences by a score that a method lacks are those to its last one"] * apart]


def _score_of(record: Record) -> str:
    return record["metric"].removesuffix(BLIND).rpartition("_")[2]


def _choices_in(lines: pd.DataFrame, score: str, image: str) -> Choices:
    """Return the choices by a score, or by the last that there is."""
    score = score if score in lines["score"].array else lines["score"].iloc[-1]
    own = lines[(lines["score"] == score) & (lines["image"] == image)]
    return Choices(*(own[name].to_numpy() for name in Choices._fields))


def _keys(store: Store, split: str) -> Any:
    return pc.struct_field(store.files(split).data.column("graph"), "key").to_numpy()


def scorers(module: ContrastiveModule) -> dict[str, Scorer]:
    """Return the scores of a module by name: "global", and with a local branch "local" and "both"."""
    return {name: module.scorer(name) for name in module.score_names}


def answers(pairs: Matched, score: Scorer) -> Answers:
    """Return the choices by one score, with each pair's own image and with that of another patient."""
    other = pairs._replace(first=take_rows(pairs.first, images_of_next_patient(pairs.patient)))
    return Answers(_choices(pairs, score), _choices(other, score))


def images_of_next_patient(patient: Tensor) -> Tensor:
    """Return for each row a row of the next patient at the same position, int64 [N].

    Patients come in the order of their first rows, the last is followed by the first; positions are cyclic.
    """
    groups = _rows_of_patients(patient)
    other = torch.empty_like(patient)
    for rows, following in zip(groups, [*groups[1:], *groups[:1]], strict=True):
        other[rows] = following[torch.arange(len(rows)) % len(following)]
    return other


def _rows_of_patients(patient: Tensor) -> list[Tensor]:
    rows: dict[int, list[int]] = {}
    for row, name in enumerate(patient.tolist()):
        rows.setdefault(name, []).append(row)
    return [torch.tensor(group) for group in rows.values()]


def _choices(pairs: Matched, score: Scorer) -> Choices:
    """Return the choices of all rows, scoring the rows of a few patients at a time."""
    right, asked = torch.zeros_like(pairs.patient), torch.zeros_like(pairs.patient)
    for rows in _chunks(_rows_of_patients(pairs.patient)):
        few = Matched(*(take_rows(values, rows) for values in pairs))
        right[rows], asked[rows] = within_patient_choices(*few[:4], score)
    return Choices(pairs.patient.numpy(), right.numpy(), asked.numpy())


def _chunks(groups: list[Tensor]) -> Iterator[Tensor]:
    """Yield the rows of whole patients, about `TOGETHER` at a time."""
    ends = np.cumsum([len(group) for group in groups]) // TOGETHER
    for chunk in np.unique(ends):
        yield torch.cat([groups[index] for index in np.flatnonzero(ends == chunk)])


def matched_pairs(module: ContrastiveModule, store: Path, batch_size: int = 64, split: str = "test") -> Matched:
    """Return all pairs of a split of a store as the scorers of a module read them, on the CPU."""
    data = paired_data(module, store, batch_size, predict_splits=[split])
    parts: Any = quiet_trainer().predict(_Matching(module), data)
    first, second, *ids = zip(*parts, strict=True)
    return Matched(joined(first), joined(second), *map(torch.cat, ids))


def quiet_trainer(*callbacks: Callback, **options: Any) -> Trainer:
    """Return a trainer that works on one device and writes nothing; `options` are further ones of it."""
    return Trainer(
        callbacks=[*callbacks],
        logger=False,
        devices=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **options,
    )


def paired_data(
    module: ContrastiveModule,
    store: Path,
    batch_size: int,
    of: type[PairedDataModule] = PairedDataModule,
    **options: Any,
) -> PairedDataModule:
    """Return the pairs of a store, with inputs made as those that the module was trained on.

    `options` are further ones of the data module, whose class is `of`.
    """
    return of(str(store), batch_size, augment=False, **_inputs(module.input_record or {}), **options)


def _inputs(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a data module that makes inputs as a record says (see `describe_inputs`)."""
    tokenizer = record.get("tokenizer") or {}
    names = {"model": "tokenizer", "max_tokens": "max_tokens"}
    arguments = {names[name]: value for name, value in tokenizer.items() if name in names}
    return arguments | {"node_text": bool(record.get("node_text"))}


class _Matching(LightningModule):
    """Predicts what the scorers of a module read."""

    def __init__(self, module: ContrastiveModule) -> None:
        super().__init__()
        self.module = module
        self.sides = module.sides

    def predict_step(self, batch: PairBatch, batch_idx: int) -> Matched:
        """Return a batch as the scorers read it, on the CPU."""
        first, second = (matched_side(self.module, side, batch) for side in self.sides)
        ids = self.module.statement(batch), batch.patient, batch.row
        return Matched(first, second, *(each.cpu() for each in ids))


def matched_side(module: ContrastiveModule, side: str, batch: PairBatch) -> Any:
    """Return one side of a batch as the scorers of a module read it, on the CPU."""
    encoded = module.encode(side, module.side_input(side, batch))
    matched = module.matched(side, encoded, module.project(side, encoded))
    if isinstance(matched, Tensor):
        return matched.cpu()
    return type(matched)(*(None if part is None else part.cpu() for part in matched))


def joined(sides: Sequence[Any]) -> Any:
    """Return the sides of several batches as one, units padded."""
    if isinstance(sides[0], Tensor):
        return concatenate(sides)
    fields = zip(*sides, strict=True)
    return type(sides[0])(*(None if parts[0] is None else concatenate(parts) for parts in fields))
