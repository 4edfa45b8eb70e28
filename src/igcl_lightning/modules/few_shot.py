"""Few-shot probe: linear probes on a few positives per label, several draws, and their ensemble."""

from __future__ import annotations

from typing import Any

from torch import nn

from igcl_lightning.errors import IgclError
from igcl_lightning.metrics.clinical import MultilabelAuroc, macro_mean
from igcl_lightning.modules.classifier import Scores, median_probability
from igcl_lightning.modules.linear_probe import LinearProbe


class FewShotProbe(LinearProbe):
    """Linear probes on several draws of `data.shots` positives per label.

    With few labels, draws vary a lot, so several are fitted (`data.draws`; 10 in the paper). `auroc_mean` is the mean
    over draws; `auroc_ensemble` scores each row by the median of the heads' probabilities (IGCL, section 4).
    The arguments are those of `LinearProbe`.
    """

    def build_head(self, num_labels: int) -> None:
        """Create the heads, and the metrics of their ensemble."""
        super().build_head(num_labels)
        self.ensembles: Any = nn.ModuleDict({stage: MultilabelAuroc() for stage in ("val", "test")})

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of a probe's metrics, and of the ensemble's AUROC."""
        single = super().logged_metrics(data)
        return single and single | {"val/auroc_ensemble", "test/auroc_ensemble"}

    def setup(self, stage: str) -> None:
        """Take label names and draws from the data module; `IgclError` if it draws no shots."""
        if stage == "fit" and self.data.shots is None:
            raise IgclError("a few-shot probe needs data.shots, the number of positive rows per label")
        super().setup(stage)

    def update_metrics(self, scores: Scores, stage: str) -> None:
        """Add a batch to the metrics of the heads and of the ensemble."""
        super().update_metrics(scores, stage)
        self.ensembles[stage].update(median_probability(scores.score), scores.target, scores.row)

    def log_metrics(self, stage: str) -> None:
        """Log the AUROC of the heads and that of the ensemble."""
        super().log_metrics(stage)
        mean, _ = macro_mean(self.ensembles[stage].compute())
        self.ensembles[stage].reset()
        self.log(f"{stage}/auroc_ensemble", mean)
