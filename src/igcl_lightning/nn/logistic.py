"""Regularised logistic regression by full-batch L-BFGS, all labels at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fit_logistic(
    feature: Tensor, target: Tensor, inverse_penalty: float, initial: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    r"""Fit one logistic regression per label over its known rows, with the objective of scikit-learn.

    .. math:: \tfrac12 \lVert w \rVert^2 + C \sum_n \mathrm{BCE}(w \cdot x_n + b, y_n)

    Args:
        feature: [N, D].
        target: [N, L]; 1, 0, or NaN where the label is unknown.
        inverse_penalty: C.
        initial: weight [L, D] and bias [L] to start from, such as the solution for a similar C.

    Returns:
        weight [L, D] and bias [L], float64; zero for a label with known rows of one class only.
    """
    x, y = feature.double(), target.double().nan_to_num()
    trainable = trainable_labels(target)
    known = (~target.isnan() & trainable).double()
    if initial is None:
        initial = x.new_zeros(target.shape[1], feature.shape[1]), x.new_zeros(target.shape[1])
    weight, bias = (start.double().clone().requires_grad_() for start in initial)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=500, history_size=20, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )
    # Dividing by max(1, C) keeps the scale of the gradient, and thus the stopping rule, the same for every C.
    unit = max(1.0, inverse_penalty)

    def objective() -> Tensor:
        optimizer.zero_grad()
        error = F.binary_cross_entropy_with_logits(x @ weight.T + bias, y, weight=known, reduction="sum")
        loss = (weight.square().sum() / 2 + inverse_penalty * error) / unit
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(objective)
    return weight.detach() * trainable[:, None], bias.detach() * trainable


def trainable_labels(target: Tensor) -> Tensor:
    """Return which labels of `target` [N, L] have a positive and a negative row, bool [L]."""
    return (target == 1).any(dim=0) & (target == 0).any(dim=0)
