"""The base of all modules that score labels."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from igcl_lightning.data.interfaces import LabeledRows, labeled_rows
from igcl_lightning.errors import IgclError
from igcl_lightning.metrics.clinical import MultilabelAuroc, macro_mean
from igcl_lightning.modules.head import HeadModule
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.nn.logistic import trainable_labels


class Scores(NamedTuple):
    """Scores of a batch.

    Attributes:
        score: logits, [B, L], or [B, R, L] of R heads, in single precision at least; nan for an untrained label.
        target: float [B, L]; 1, 0 or nan.
        row: hash of the row's id, int64 [B].
    """

    score: Tensor
    target: Tensor
    row: Tensor


class ClassifierModule(HeadModule):
    """Base class of modules that score L labels of a row; logs the AUROC of each and their mean.

    A subclass sets `encoder` and defines `score` and `default_name`.

    Args:
        name: name of the results; `default_name` when None.
        label_names: names of the labels; taken from the data module when None.
        origin: how the head was trained; written into checkpoints.
        optim: optimiser and learning-rate schedule.
    """

    protocol = "probe"
    """Name of the protocol in `results.json`."""

    def __init__(
        self,
        name: str | None,
        label_names: list[str] | None,
        origin: dict[str, Any] | None,
        optim: OptimOptions = OptimOptions(),
    ) -> None:
        super().__init__(name, origin, optim)
        self.label_names = label_names
        self.trained: Tensor
        self.metrics: Any = nn.ModuleDict({stage: MultilabelAuroc() for stage in ("val", "test")})

    @abstractmethod
    def score(self, batch: Any) -> Tensor:
        """Return logits [B, L], or [B, R, L] of R heads, in single precision at least."""

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of the AUROC of each label, of their mean and of their number."""
        labels = self.label_names or getattr(data, "label_names", None)
        if labels is None:
            return None
        return {f"{stage}/auroc_{name}" for stage in ("val", "test") for name in (*labels, "mean", "labels")}

    @property
    def data(self) -> LabeledRows:
        """The data module of the run; `IgclError` if it does not serve labelled rows."""
        return labeled_rows(self.trainer, type(self).__name__)

    @property
    def input_kinds(self) -> tuple[str, ...]:
        """Kinds of inputs: images, and the policy of their labels, if there are any."""
        return ("image", "label") if getattr(self._data(), "labelled", True) else ("image",)

    def score_images(self, images: Any, batch_size: int = 64) -> pd.DataFrame:
        """Return the probabilities [N, L] of images by label; the median over heads, nan for an untrained label.

        Args:
            images: one or many paths, opened images (`PIL.Image.Image`) or grey arrays [H, W]; read batch by batch and
                resized like the training store.
            batch_size: images on the device at once.

        Raises:
            IgclError: an image cannot be read, the module is untrained, or its preprocessing is unknown.
        """
        if self.label_names is None:
            raise IgclError(f"this {type(self).__name__} was never trained")
        batches = self.input_reader().batches("image", images, batch_size)
        with self.evaluating():
            parts = [self._probabilities(image.to(self.device)).float().cpu() for image in batches]
        return pd.DataFrame(torch.cat(parts).numpy() if parts else None, columns=self.label_names)

    def _probabilities(self, image: Tensor) -> Tensor:
        """Return the probabilities [B, L] of grey values 0-255 [B, 1, H, W]."""
        score = self.score_image(image).masked_fill(~self.trained, torch.nan)
        return probability(score)

    @abstractmethod
    def score_image(self, image: Tensor) -> Tensor:
        """Return logits [B, L], or [B, R, L] of R heads, of grey values 0-255 [B, 1, H, W]."""

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that rebuild this module, with its labels and without the pretraining checkpoint."""
        return super().portable_hyperparameters() | {"label_names": self.label_names}

    def setup(self, stage: str) -> None:
        """Take the label names from the data module; `IgclError` if the checkpoint has others or was never trained."""
        names = self.agreed_names(stage, self.label_names, "data.labels", self.data.label_names)
        if self.label_names is None:
            self.label_names = names
            self.build_head(len(names))

    def build_head(self, num_labels: int) -> None:
        """Create the head for `num_labels` labels; called once the labels are known."""
        self.register_buffer("trained", torch.ones(num_labels, dtype=torch.bool))

    def on_fit_start(self) -> None:
        """Record the training data; drop labels with one class, with a warning, or `IgclError` if none is left."""
        self.warn_of_other_images()
        draws = self.data.drawn_targets()
        self.origin = {"method": self.name or self.default_name(), **self.data.drawn_setting()}
        self.trained.copy_(torch.stack([trainable_labels(target) for target in draws]).all(dim=0))
        missing = [name for name, known in zip(self.label_names or [], self.trained, strict=True) if not known]
        if not self.trained.any():
            raise IgclError("every label has only one class in the training rows; use more labels, shots or rows")
        if missing:
            rank_zero_warn(f"only one class in the training rows: {', '.join(missing)}; not trained, not scored")

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Score a batch, and return its `Scores`."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        """Score a batch, and return its `Scores`."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Scores:
        """Score a batch."""
        return Scores(self.score(batch).masked_fill(~self.trained, torch.nan), batch.target, batch.row)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the whole validation split."""
        self.log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the whole test split."""
        self.log_metrics("test")

    def _evaluate(self, batch: Any, stage: str) -> Scores:
        scores = self.predict_step(batch, 0)
        known = scores.score.masked_fill(~self.trained, 0)
        self.update_metrics(Scores(known, self.trained_target(scores.target), scores.row), stage)
        return scores

    def trained_target(self, target: Tensor) -> Tensor:
        """Return targets [B, L] with nan for untrained labels, which have no AUROC and no loss."""
        return target.masked_fill(~self.trained, torch.nan)

    def update_metrics(self, scores: Scores, stage: str) -> None:
        """Add a batch to the stage's metrics; untrained labels have the score 0 and the target nan."""
        heads = scores.score.reshape(len(scores.target), -1)
        target = scores.target.repeat(1, heads.shape[1] // scores.target.shape[1])
        self.metrics[stage].update(heads, target, scores.row)

    def log_metrics(self, stage: str) -> None:
        """Log the AUROC of each label, averaged over heads, and the mean over labels."""
        assert self.label_names is not None
        values = self.metrics[stage].compute().view(-1, len(self.label_names)).mean(dim=0)
        self.metrics[stage].reset()
        named = dict(zip(self.label_names, values, strict=True))
        undefined = [name for name, value in named.items() if value.isnan()]
        if undefined and not self.trainer.sanity_checking:  # a few rows lack classes that the split has
            rank_zero_warn(f"{stage}: no AUROC for {', '.join(undefined)}; left out of the mean")
        mean, count = macro_mean(values)
        logged = {f"{stage}/auroc_{name}": value for name, value in named.items() if name not in undefined}
        self.log_dict(logged, sync_dist=True)
        self.log_dict(
            {f"{stage}/auroc_mean": mean, f"{stage}/auroc_labels": float(count)}, prog_bar=True, sync_dist=True
        )


def probability(score: Tensor) -> Tensor:
    """Return the probabilities [B, L] of logits [B, L], or their median over the heads of logits [B, R, L]."""
    return score.sigmoid() if score.ndim == 2 else median_probability(score)


def median_probability(score: Tensor) -> Tensor:
    """Return the median over heads of the probabilities of logits [B, R, L], interpolated when R is even."""
    return torch.quantile(score.sigmoid(), 0.5, dim=1)
