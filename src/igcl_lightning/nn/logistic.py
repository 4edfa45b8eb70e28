"""Regularised logistic regression by full-batch L-BFGS, all labels at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fit_logistic(
    feature: Tensor,
    target: Tensor,
    inverse_penalty: float,
    initial: tuple[Tensor, Tensor] | None = None,
    max_iterations: int = 500,
) -> tuple[Tensor, Tensor]:
    r"""Fit one independent logistic regression per label.

    Minimises, for each label with weights w and bias b over its known rows,

    .. math:: \tfrac12 \lVert w \rVert^2 + C \sum_n \mathrm{BCE}(w \cdot x_n + b, y_n)

    which is scikit-learn's objective: the bias is not penalised and C multiplies a sum, not a mean.

    Args:
        feature: [N, D].
        target: [N, L]; 1, 0, or nan where the label is unknown.
        inverse_penalty: C.
        initial: weight [L, D] and bias [L] to start from, such as the solution for a neighbouring C.
        max_iterations: bound on the iterations; the search stops earlier when the gradient vanishes.

    Returns:
        weight [L, D] and bias [L], float64. A label whose known rows are all of one class has no finite bias: it gets
        weight and bias zero.
    """
    x = feature.double()
    trainable = trainable_labels(target)
    known = ~target.isnan() & trainable
    y = target.double().nan_to_num()
    shape = (target.shape[1], feature.shape[1])
    weight, bias = initial if initial is not None else (x.new_zeros(shape), x.new_zeros(shape[0]))
    weight = weight.double().clone().requires_grad_()
    bias = bias.double().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iterations, history_size=20, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )
    # Dividing by max(1, C) keeps the gradient's scale, and so the stopping rule, the same for every penalty.
    unit = max(1.0, inverse_penalty)

    def objective() -> Tensor:
        optimizer.zero_grad()
        error = F.binary_cross_entropy_with_logits(x @ weight.T + bias, y, weight=known.double(), reduction="sum")
        loss = (weight.square().sum() / 2 + inverse_penalty * error) / unit
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(objective)
    return weight.detach() * trainable[:, None], bias.detach() * trainable


def trainable_labels(target: Tensor) -> Tensor:
    """Return which labels of `target` [N, L] have both a positive and a negative among their known rows, bool [L]."""
    return (target == 1).any(dim=0) & (target == 0).any(dim=0)
