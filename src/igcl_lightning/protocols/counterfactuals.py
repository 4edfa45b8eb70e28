"""Reports told apart from their counterfactuals (`graphs.counterfactuals`) on a test split, with the blind control.

A kind that is told apart with another patient's image says nothing about what a model sees, and is not for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.evaluation.within_patient import Choices
from igcl_lightning.metrics.retrieval import take_rows
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.nn.scoring import Scorer
from igcl_lightning.protocols.hard_negatives import (
    Answers,
    images_of_next_patient,
    joined,
    matched_side,
    paired_data,
    quiet_trainer,
    scorers,
)

TOGETHER = 16
"""Images scored at once, each with the reports of as many: few, since only pairs of one row count."""


class Twins(NamedTuple):
    """N rows that have a counterfactual: both sides and the counterfactual, as scorers read them; `patient` [N]."""

    first: Any
    second: Any
    twin: Any
    patient: Tensor


def counterfactual_answers(
    module: ContrastiveModule, store: Path, kinds: Sequence[str], batch_size: int = 64
) -> dict[str, dict[str, Answers]]:
    """Return the choices between report and counterfactual by kind, then by name of the score.

    Args:
        module: the pretrained module.
        store: prepared store; its test split is asked.
        kinds: kinds of counterfactuals; one that the split has none of is left out.
        batch_size: pairs encoded at once.

    Raises:
        IgclError: a kind is unknown, or cannot be written into the reports that the module reads.
    """
    found = {}
    for kind in kinds:
        rows = _twins(module, store, kind, batch_size)
        if len(rows.patient):
            with module.evaluating():
                found[kind] = {name: _answers(rows, score) for name, score in scorers(module).items()}
    return found


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


def _twins(module: ContrastiveModule, store: Path, kind: str, batch_size: int) -> Twins:
    """Return the rows of the test split that have a counterfactual of a kind."""
    collector = _Collector(module, kind)
    quiet_trainer().test(collector, paired_data(module, store, batch_size), verbose=False)
    first, second, twin, patient = zip(*collector.parts, strict=True)
    return Twins(joined(first), joined(second), joined(twin), torch.cat(patient))


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
