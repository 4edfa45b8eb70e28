"""Two-way loss: an image is told its own report from the report's counterfactual twin.

A term of its own: as one more column of the contrastive softmax, one twin among many negatives hardly counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from igcl_lightning.losses.gather import gather, shares_of, world_size
from igcl_lightning.nn.checks import check_at_least, check_positive
from igcl_lightning.nn.scoring import at_least_single


@dataclass(frozen=True)
class CounterfactualOptions:
    """Counterfactual loss.

    Args:
        kinds: kinds of twins, such as [side] (see `graphs.counterfactuals`); none leaves the loss out.
        weight: weight of the loss beside the contrastive one.
        temperature: differences of scores are divided by it; None for that of the contrastive loss.

    Raises:
        IgclError: the weight is negative, or the temperature not above 0.
    """

    kinds: list[str] = field(default_factory=list)
    weight: float = 1.0
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_at_least("model.counterfactual.weight", self.weight, 0)
        if self.temperature is not None:
            check_positive("model.counterfactual.temperature", self.temperature)


def counterfactual_loss(own: Tensor, twin: Tensor, valid: Tensor, scale: Tensor | float, counted: Tensor) -> Tensor:
    r"""Return this process's share of the loss, a scalar; the mean of the shares is the mean over all valid rows.

    .. math:: \log(1 + \exp(\mathrm{scale} \cdot (\mathrm{twin}_b - \mathrm{own}_b)))

    is the cross-entropy of choosing between the two. It is 0, with gradients of 0, if no row of any process is valid.

    Args:
        own: scores of B images with their own reports, [B].
        twin: scores of the same images with the twins of these reports, [B].
        valid: whether a row has a twin, bool [B].
        scale: 1 / temperature.
        counted: whether each of the N rows of all processes counts, by rank, bool [N]; a repeated one counts once.
    """
    loss = F.softplus(scale * (at_least_single(twin) - at_least_single(own)))
    shares = shares_of(valid)
    weighed = gather(valid, shares) & counted
    return world_size() * loss.masked_fill(~weighed[shares.own], 0).sum() / weighed.sum().clamp(min=1)
