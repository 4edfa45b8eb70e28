"""Reports told apart from their counterfactuals (`graphs.counterfactuals`), with the blind control.

A kind that is told apart with another patient's image says nothing about what a model sees, and is not for training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from igcl_lightning.data.kept_rows import STATING_SIDES
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.samples import PairBatch
from igcl_lightning.data.store import Store, graph_of
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.within_patient import TWINS, Choices
from igcl_lightning.graphs.counterfactuals import KINDS, TRAINABLE, WRITTEN, edits
from igcl_lightning.metrics.retrieval import take_rows
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.scoring import Scorer
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.hard_negatives import (
    Answers,
    asked_scores,
    check_asked,
    images_of_next_patient,
    joined,
    lines_of,
    matched_side,
    paired_data,
    quiet_trainer,
    report_choices,
)
from igcl_lightning.protocols.protocol import Part, Protocol, compared

TOGETHER = 16
"""Images scored at once, each with the reports of as many: few, since only pairs of one row count."""


@dataclass(frozen=True)
class Counterfactuals(Protocol):
    """A report told from its counterfactual, with the image and, as a control, with that of another patient.

    Args:
        kinds: kinds of counterfactuals (`graphs.counterfactuals.KINDS`), by default those that are told apart only by
            looking; models that read words are asked for `WRITTEN` ones.
        score: "global", "local" or "both", or "each" of those that a model has, apart (default: the score of each
            model's own retrieval).
    """

    kinds: list[str] = field(default_factory=lambda: [*TRAINABLE])
    score: str | None = None

    name: ClassVar[str] = "counterfactuals"

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other protocols do, for kinds that there are not, and for fewer than two patients."""
        super().check(store, contestants)
        check_asked(self.name, self.score, contestants)
        for kind in self.kinds:
            check_choice("protocol counterfactuals: kinds", kind, KINDS)
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise IgclError(f"protocol counterfactuals: kinds are {self.kinds}, not one or more, each once")
        for contestant in contestants:
            _refuse_node_text(contestant)
        for split, kind in product(self.splits, self.kinds):
            if (number := _first_patients(store, split, kind)) < 2:
                found = f"patients of {split} with a counterfactual of the kind {kind!r}: {number}"
                raise IgclError(f"{store.path}: {found}; the protocol counterfactuals needs two at least")

    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it reads reports that a kind can edit."""
        if contestant.side not in STATING_SIDES:
            return "reads no reports to tell from edited ones"
        if self.kinds and not self.kinds_for(contestant):
            return f"reads words, and {', '.join(self.kinds)} edit graphs only; ask for {', '.join(WRITTEN)}"
        return ""

    def kinds_for(self, contestant: Contestant) -> list[str]:
        """Return the kinds that a contestant is asked for."""
        only_graphs = set(KINDS).difference(WRITTEN)
        return [kind for kind in self.kinds if contestant.side == "graph" or kind not in only_graphs]

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return a line for each row with a counterfactual: kind, split, score, image seen or not, patient, answer."""
        module: Any = BaseModule.load_from_checkpoint(str(contestant.checkpoint), map_location="cpu")
        scores, frames = asked_scores(module, self.score), []
        for split, kind in product(self.splits, self.kinds_for(contestant)):
            rows = _twins(module, store.path, kind, split)
            with module.evaluating():
                given = {name: _answers(rows, score) for name, score in scores.items()}
            frames.append(lines_of(given).assign(split=split, kind=kind))
        return pd.concat(frames, ignore_index=True)

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return by kind the accuracies with differences, and those without seeing the image, as records and tables."""
        versus = compared(measured)
        records, texts = [], []
        for split, kind in product(self.splits, self.kinds):
            found = {
                each: lines[(lines["split"] == split) & (lines["kind"] == kind)] for each, lines in measured.items()
            }
            own = {each: lines for each, lines in found.items() if len(lines)}
            if own:
                asked = f"report told from its counterfactual, {kind}, chance 0.5"
                about = {"protocol": self.name, "store": store.path.name, "split": split}
                made, said = report_choices(own, f"{TWINS}_{kind}", asked, versus, **about)
                records += made
                texts += said
        return records, "\n\n".join(texts)


def _first_patients(store: Store, split: str, kind: str) -> int:
    """Return how many patients have a report with a counterfactual of a kind, two at most."""
    graphs, found = store.files(split).data.column("graph"), set()
    for patient, row in zip(store.column(split, "patient"), store.row_indices(split).tolist(), strict=True):
        if patient not in found and edits(graph_of(graphs[row].as_py()), kind):
            found.add(patient)
            if len(found) == 2:
                break
    return len(found)


def _refuse_node_text(contestant: Contestant) -> None:
    """Raise `IgclError` for a checkpoint that reads features which edited words have not."""
    if contestant.checkpoint is None:
        return
    module: Any = BaseModule.load_from_checkpoint(contestant.checkpoint, map_location="cpu")
    if (module.input_record or {}).get("node_text"):
        raise IgclError(
            f"protocol counterfactuals: {contestant.title} reads the store's language-model features of nodes, which "
            "edited words lack"
        )


class Twins(NamedTuple):
    """N rows that have a counterfactual: both sides and the counterfactual, as scorers read them; `patient` [N]."""

    first: Any
    second: Any
    twin: Any
    patient: Tensor


def _answers(rows: Twins, score: Scorer) -> Answers:
    """Return whether each row's own report wins, with its image and with that of another patient."""
    blind = rows._replace(first=take_rows(rows.first, images_of_next_patient(rows.patient)))
    patient, asked = rows.patient.numpy(), np.ones(len(rows.patient), np.int64)
    return Answers(*(Choices(patient, _told_apart(each, score).numpy(), asked) for each in (rows, blind)))


def _told_apart(rows: Twins, score: Scorer) -> Tensor:
    """Return 1 where the own report has the higher score, int64 [N]; a tie counts against the model."""
    right = []
    for at in torch.arange(len(rows.patient)).split(TOGETHER):
        first, second, twin = (take_rows(side, at) for side in rows[:3])
        # One table for both, so that equal reports have equal scores to the last bit.
        table = score(first, joined([second, twin]))
        right.append(table.diagonal() > table.diagonal(len(at)))
    return torch.cat(right).long()


def _twins(module: ContrastiveModule, store: Path, kind: str, split: str, batch_size: int = 64) -> Twins:
    """Return the rows of a split that have a counterfactual of a kind."""
    collector, data = _Collector(module, kind), paired_data(module, store, batch_size, _TestedPairs)
    data.predict_splits = [split]
    quiet_trainer().test(collector, data, verbose=False)
    first, second, twin, patient = zip(*collector.parts, strict=True)
    return Twins(joined(first), joined(second), joined(twin), torch.cat(patient))


class _TestedPairs(PairedDataModule):
    """Pairs of `predict_splits` in place of the test split: a prediction reads no counterfactuals."""

    def test_dataloader(self) -> DataLoader[PairBatch]:
        """Return the pairs of the splits, with counterfactuals."""
        return self.evaluation_loader(self.splits_to_predict(), "test")


class _Collector(LightningModule):
    """Collects the rows of a test that have a counterfactual, which the data module draws for it."""

    def __init__(self, module: ContrastiveModule, kind: str) -> None:
        super().__init__()
        self.module = module
        self.sides = module.sides
        self.counterfactual_kinds = (kind,)
        self.parts: list[Twins] = []

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Collect a batch."""
        assert batch.twin is not None
        first, second = (matched_side(self.module, side, batch) for side in self.sides)
        rows = batch.twin.valid.cpu().nonzero().flatten()
        sides = (first, second, matched_side(self.module, self.sides[1], batch.counterfactual()), batch.patient.cpu())
        self.parts.append(Twins(*(take_rows(side, rows) for side in sides)))
