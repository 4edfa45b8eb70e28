"""The linear probe of the code of IGCL's authors, for comparison: labels compete in one softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.data.samples import FeatureBatch, ProbeDraw
from igcl_lightning.modules.linear_probe import LinearProbe, mean_auroc
from igcl_lightning.nn.external_encoder import ExternalOptions


@dataclass(frozen=True)
class SoftmaxOptions:
    """How a softmax probe is trained.

    Args:
        learning_rate: learning rate of Adam, constant.
        eps: Adam's epsilon.
        epochs: number of epochs, of which the best by the mean AUROC on validation rows is kept.
        batch_size: rows in a step.
        runs: number of heads, all trained on the same rows.
        seed: seed of the initial weights and of the order of the rows of the first head; later ones have consecutive
            seeds.
    """

    learning_rate: float = 5e-4
    eps: float = 1e-8
    epochs: int = 100
    batch_size: int = 32
    runs: int = 1
    seed: int = 0


class SoftmaxProbe(LinearProbe):
    """One linear map of frozen features to all labels, trained by cross-entropy of a softmax with 0 and 1 as targets.

    The targets of a row do not sum to 1: labels compete, and a row without any label has no loss. An unknown label
    counts as absent. Features are not standardised, weights not penalised. `LinearProbe` is what to use.

    Args:
        checkpoint, image, name: as of `LinearProbe`.
        training: how it is trained.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        image: ExternalOptions = ExternalOptions(),
        name: str | None = None,
        training: SoftmaxOptions = SoftmaxOptions(),
    ) -> None:
        super().__init__(checkpoint, image, name=name, num_heads=training.runs)
        self.training_options = training

    def training_step(self, batch: ProbeDraw, batch_idx: int) -> None:
        """Fit all heads on one draw."""
        drawn, held_out = (FeatureBatch(*(field.cpu() for field in part)) for part in (batch.train, batch.valid))
        for run in range(self.training_options.runs):
            options = replace(self.training_options, seed=self.training_options.seed + run)
            weight, bias, _ = fit_softmax(drawn, held_out, options)
            self._move_head(run, weight, bias)


def fit_softmax(train: FeatureBatch, valid: FeatureBatch, options: SoftmaxOptions) -> tuple[Tensor, Tensor, float]:
    """Return weight [L, D], bias [L] and mean validation AUROC of the best epoch, the first of equals.

    Args:
        train: features [N, D] and targets [N, L]; 1, 0 or NaN, which counts as 0.
        valid: the same of the rows that the epoch is chosen on; unknown labels are left out.
        options: how to train one head.
    """
    generator = torch.Generator().manual_seed(options.seed)
    target = train.target.nan_to_num()
    head = nn.Linear(train.feature.shape[1], target.shape[1])
    for parameter in head.parameters():  # as PyTorch draws them, with a seed of their own
        nn.init.uniform_(parameter, -(head.in_features**-0.5), head.in_features**-0.5, generator)
    optimizer = torch.optim.Adam(head.parameters(), options.learning_rate, eps=options.eps)
    best, kept = -math.inf, head.state_dict()
    for _ in range(options.epochs):
        for rows in torch.randperm(len(target), generator=generator).split(options.batch_size):
            with torch.enable_grad():
                loss = F.cross_entropy(head(train.feature[rows]), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        value = mean_auroc(head(valid.feature).detach(), valid.target)
        if value > best:
            best, kept = value, {name: each.clone() for name, each in head.state_dict().items()}
    return kept["weight"], kept["bias"], best
