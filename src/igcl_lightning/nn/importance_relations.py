"""Importance relations (IRM of RECLF): the scores of a pair's units become one score.

The paper publishes that the aggregation is guided by importance from the text encoder; the formulas are reconstructed
from MGCA (Wang et al., NeurIPS 2022), GLoRIA (Huang et al., ICCV 2021) and SGRAF (Diao et al., AAAI 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcl_lightning.nn.checks import check_choice, check_positive

POOLINGS = ("mean", "max", "logsumexp", "logmeanexp", "attention", "saf", "product")
CONVEX = ("mean", "attention", "saf", "product")
"""Poolings whose score is a weighted mean, and therefore does not grow with the number of units."""

_QUANTILES = (0.1, 0.9)  # of MGCA's clip
_LEAST = 1e-6  # importance of a unit that has none: its logarithm, and the weights of a report without any, stay finite


@dataclass(frozen=True)
class ImportanceRelationOptions:
    """Pooling of the scores R of a report's units.

    Args:
        pooling: "mean"; "max"; "logsumexp", (1 / s) log sum exp(s R), which grows with the number of units (GLoRIA);
            "logmeanexp", the same with the mean, which does not; "attention", weighted by the importance that the
            encoder of the report gives its units; "saf", by a learned gate of the matching (SGRAF); "product", by both.
        clip: whether importance is clipped to the 10 and 90 % quantiles of its report (MGCA).
        temperature: importance is raised to the power of 1 / temperature.
        detach: whether gradients through importance are stopped.
        sharpness: s of "logsumexp" and "logmeanexp"; GLoRIA has 5.

    Raises:
        IgclError: unknown pooling, or a temperature or sharpness that is not above 0; without a local branch too.
    """

    pooling: str = "mean"
    clip: bool = False
    temperature: float = 1.0
    detach: bool = True
    sharpness: float = 5.0

    def __post_init__(self) -> None:
        check_choice("model.irm.pooling", self.pooling, POOLINGS)
        check_positive("model.irm.temperature", self.temperature)
        check_positive("model.irm.sharpness", self.sharpness)


class ImportanceRelations(nn.Module):
    """Pool the scores of a report's units.

    Args:
        channels: length of a matching, which "saf" and "product" gate.
        options: pooling.
    """

    def __init__(self, channels: int, options: ImportanceRelationOptions = ImportanceRelationOptions()) -> None:
        super().__init__()
        self.options = options
        self.gate: nn.Linear | None = None
        if options.pooling in ("saf", "product"):
            self.gate = nn.Linear(channels, 1)
            nn.init.zeros_(self.gate.weight)  # training starts from equal gates
            nn.init.zeros_(self.gate.bias)

    def forward(self, score: Tensor, matching: Tensor, mask: Tensor, importance: Tensor) -> Tensor:
        """Return one score per pair, [I, J].

        Args:
            score: scores of I images with the L units of J reports, [I, J, L].
            matching: matchings that the gate reads, [I, J, L, channels].
            mask: True where there is a unit, bool, broadcast to [I, J, L]; at least one in each report.
            importance: not negative, 0 for padding, broadcast to [I, J, L].
        """
        sharpness = self.options.sharpness
        if self.options.pooling == "max":
            return score.masked_fill(~mask, -torch.inf).amax(dim=-1)
        if self.options.pooling in ("logsumexp", "logmeanexp"):
            total = (sharpness * score).masked_fill(~mask, -torch.inf).logsumexp(dim=-1)
            return (total if self.options.pooling == "logsumexp" else total - mask.sum(dim=-1).log()) / sharpness
        return (self.weight(score, matching, mask, importance) * score).sum(dim=-1)

    def weight(self, score: Tensor, matching: Tensor, mask: Tensor, importance: Tensor) -> Tensor:
        """Return the share of each unit in the score of its pair, broadcast to [I, J, L]; arguments as in `forward`.

        It is the derivative of the pooled score, and where the pooling is one of `CONVEX`, or "max", the pooled score
        is the sum of the scores times their shares. Shares sum to one over the units of a report.
        """
        if self.options.pooling == "max":
            winner = score.masked_fill(~mask, -torch.inf).argmax(dim=-1)
            return F.one_hot(winner, score.shape[-1]).to(score.dtype)
        logits = torch.zeros_like(importance)
        if self.options.pooling in ("logsumexp", "logmeanexp"):
            logits = self.options.sharpness * score
        if self.options.pooling in ("attention", "product"):
            logits = self._log_importance(mask, importance)
        if self.gate is not None:
            logits = logits + F.logsigmoid(self.gate(matching)[..., 0])
        return logits.masked_fill(~mask, -torch.inf).softmax(dim=-1)

    def _log_importance(self, mask: Tensor, importance: Tensor) -> Tensor:
        """Return the log of importance ** (1 / temperature), clipped and detached as the options say."""
        if self.options.detach:
            importance = importance.detach()
        if self.options.clip:
            low, high = (masked_quantile(importance, mask, share) for share in _QUANTILES)
            importance = importance.clamp(low[..., None], high[..., None])
        return importance.clamp(min=_LEAST).log() / self.options.temperature


def masked_quantile(value: Tensor, mask: Tensor, share: float) -> Tensor:
    """Return the quantile over the last dimension of the values where `mask` is True, as `torch.quantile` defines it.

    Args:
        value: [..., L].
        mask: bool [..., L]; at least one True in each row.
        share: 0 for the least, 1 for the greatest.
    """
    ascending = value.masked_fill(~mask, torch.inf).sort(dim=-1).values
    place = share * (mask.sum(dim=-1, keepdim=True) - 1).to(value.dtype)
    low, high = (ascending.gather(-1, bound.long())[..., 0] for bound in (place.floor(), place.ceil()))
    return low.lerp(high, (place - place.floor())[..., 0])
