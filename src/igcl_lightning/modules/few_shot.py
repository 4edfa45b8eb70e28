"""Few-shot probe: linear probes on a handful of positives per label, many draws, and their ensemble."""

from __future__ import annotations

from typing import Any

from torch import nn

from igcl_lightning.errors import IgclError
from igcl_lightning.metrics.clinical import MultilabelAuroc, macro_mean
from igcl_lightning.modules.classifier import Scores, median_probability
from igcl_lightning.modules.linear_probe import PENALTIES, LinearProbe


class FewShotProbe(LinearProbe):
    """Linear probes on several draws of `data.shots` positives per label.

    Draws differ much when labels are few, so several are fitted (`data.draws`; the paper takes 10). `auroc_mean` is the
    mean over draws, never a pool of their scores; `auroc_ensemble` scores each row by the median of the heads'
    probabilities (IGCL, section 4).

    Args:
        checkpoint: pretraining checkpoint whose image encoder is probed.
        backbone: name of an encoder instead of a checkpoint (see `LinearProbe`).
        image_size: side of the square that backbone sees, in pixels; None is its own default.
        image_weights: weights of that backbone: "none", "hub" or a file.
        features: "pooled" or "projected" (see `LinearProbe`).
        name: the name results are reported under (see `LinearProbe`).
        inverse_penalties: values of C to choose from (see `fit_logistic`).
        encoder: arguments that rebuild the encoder; written into checkpoints.
        label_names: names of the labels; taken from the data module when None.
        num_heads: number of heads, one per draw; taken from the data module when None.
        in_channels: length of features made elsewhere; taken from the data module when None.
        origin: how the head was trained; written into checkpoints.

    Raises:
        IgclError: more than one of checkpoint, backbone and encoder is given, or the features are unavailable.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        backbone: str | None = None,
        image_size: int | None = None,
        image_weights: str = "none",
        features: str = "pooled",
        name: str | None = None,
        inverse_penalties: list[float] = PENALTIES,
        encoder: dict[str, Any] | None = None,
        label_names: list[str] | None = None,
        num_heads: int | None = None,
        in_channels: int | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            checkpoint,
            backbone,
            image_size,
            image_weights,
            features,
            name,
            inverse_penalties,
            encoder,
            label_names,
            num_heads,
            in_channels,
            origin,
        )
        self.ensembles: Any = nn.ModuleDict({stage: MultilabelAuroc() for stage in ("val", "test")})

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of what a probe logs, and of the ensemble's AUROC."""
        single = super().logged_metrics(data)
        return single and single | {"val/auroc_ensemble", "test/auroc_ensemble"}

    def setup(self, stage: str) -> None:
        """Take label names and draws from the data module.

        Raises:
            IgclError: the data module draws no shots.
        """
        if stage == "fit" and self.data.shots is None:
            raise IgclError("a few-shot probe needs data.shots, the number of positive rows per label")
        super().setup(stage)

    def update_metrics(self, scores: Scores, stage: str) -> None:
        """Add a batch to the metrics of the heads and of the ensemble."""
        super().update_metrics(scores, stage)
        score, target = scores.score.masked_fill(~self.trained, 0), self.trained_target(scores.target)
        self.ensembles[stage].update(median_probability(score), target, scores.row)

    def log_metrics(self, stage: str) -> None:
        """Log the AUROC of the heads and that of the ensemble."""
        super().log_metrics(stage)
        mean, _ = macro_mean(self.ensembles[stage].compute())
        self.ensembles[stage].reset()
        self.log(f"{stage}/auroc_ensemble", mean)
