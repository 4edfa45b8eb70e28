"""Linear probe: logistic regression on frozen features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from igcl_lightning.data.samples import FeatureBatch, ProbeDraw
from igcl_lightning.errors import IgclError
from igcl_lightning.metrics.clinical import auroc
from igcl_lightning.modules.classifier import ClassifierModule
from igcl_lightning.modules.pretrained import NO_ENCODER, PretrainedEncoder
from igcl_lightning.nn.external_encoder import ExternalOptions
from igcl_lightning.nn.logistic import fit_logistic, trainable_labels

PENALTIES = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]


class LinearProbe(ClassifierModule):
    """Logistic regression of each label on frozen features, with the penalty chosen on validation rows.

    Each training step fits one draw of labelled rows to the optimum, by full-batch L-BFGS, for every penalty, and
    keeps the penalty with the best mean AUROC on the validation rows, or the strongest of equals. Features are
    standardised by the drawn rows. One epoch trains everything. Features from a file (`data.features`) need neither
    checkpoint nor backbone. With several processes, each fits every draw; only scoring is distributed.

    Args:
        checkpoint: pretraining checkpoint whose image encoder is probed.
        image: image encoder by name, instead of a checkpoint.
        features: "pooled", or "projected" by the checkpoint's projection, not normalised, as the authors of IGCL do.
        name: name of the results; by default that of the method, or of the file of features.
        inverse_penalties: values of C to choose from (see `fit_logistic`).
        encoder: arguments that rebuild the encoder; written into checkpoints.
        label_names: names of the labels; taken from the data module when None.
        num_heads: number of heads, one per draw; taken from the data module when None.
        in_channels: length of the features of a file; taken from the data module when None.
        origin: how the head was trained; written into checkpoints.

    Raises:
        IgclError: more than one of checkpoint, image.backbone and encoder is given, or the features are unavailable.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        image: ExternalOptions = ExternalOptions(),
        features: str = "pooled",
        name: str | None = None,
        inverse_penalties: list[float] = PENALTIES,
        encoder: dict[str, Any] | None = None,
        label_names: list[str] | None = None,
        num_heads: int | None = None,
        in_channels: int | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, label_names, origin)
        self.save_hyperparameters()
        self.encoder = PretrainedEncoder.find(checkpoint, self.group("image", image), encoder, features, frozen=True)
        self.automatic_optimization = False
        self.inverse_penalties = sorted(inverse_penalties)
        self.num_heads = num_heads
        self.in_channels = in_channels if self.encoder is None else self.encoder.out_channels
        if label_names is not None:
            self.build_head(len(label_names))

    def feature_encoder(self) -> nn.Module:
        """Return the encoder that the data module computes features with; `IgclError` if there is none."""
        if self.encoder is None:
            raise IgclError(f"{NO_ENCODER}, or data.features (a file of features)")
        return self.encoder

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of the AUROCs and of the chosen penalties."""
        evaluated = super().logged_metrics(data)
        return evaluated and evaluated | {"train/inverse_penalty", "train/rows", "train/val_auroc"}

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that rebuild this module, with the sizes of the head."""
        return super().portable_hyperparameters() | {"num_heads": self.num_heads, "in_channels": self.in_channels}

    def setup(self, stage: str) -> None:
        """Take labels, number of draws and length of a file's features from the data module; `IgclError` if unfit."""
        if self.trainer.precision not in ("32-true", "64-true"):
            raise IgclError("a linear probe needs single precision: set trainer.precision to 32-true")
        file, channels = self.data.feature_file, self.data.feature_channels
        if file is None:
            self.feature_encoder()
        elif self.encoder is not None:
            raise IgclError("data.features replaces the encoder: leave out model.checkpoint and model.image.backbone")
        elif self.in_channels not in (None, channels):
            raise IgclError(f"{file}: features of length {channels}; the head reads {self.in_channels}")
        else:
            self.in_channels = channels
        if self.num_heads is None:
            self.num_heads = self.data.draws
        super().setup(stage)

    def configure_model(self) -> None:
        """Refuse to be sharded; `IgclError` under `ModelParallelStrategy`."""
        if self.device_mesh is not None:
            raise IgclError("trainer.strategy: a probe has nothing to shard; set it to auto or ddp")

    def default_name(self) -> str:
        """Return the method that trained the encoder, or the name of the file of features."""
        return self.encoder.method if self.encoder is not None else Path(self.data.feature_file or "").stem

    def build_head(self, num_labels: int) -> None:
        """Create weights [R, L, D] and biases [R, L] of the R heads, zero until fitted."""
        super().build_head(num_labels)
        assert self.in_channels is not None
        shape = (self.num_heads or 1, num_labels, self.in_channels)
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape[:2]))

    def forward(self, feature: Tensor) -> Tensor:
        """Map features [B, D] to logits [B, R, L]."""
        return torch.einsum("bd,rld->brl", feature, self.weight) + self.bias

    def score(self, batch: FeatureBatch) -> Tensor:
        """Return logits [B, R, L]."""
        logits: Tensor = self(batch.feature)
        return logits

    def score_image(self, image: Tensor) -> Tensor:
        """Return logits [B, R, L] of grey values 0-255 [B, 1, H, W]; `IgclError` if the features come from a file."""
        if self.encoder is None:
            raise IgclError(f"this {type(self).__name__} reads features of a file; it has no image encoder")
        logits: Tensor = self(self.encoder(image))
        return logits

    def training_step(self, batch: ProbeDraw, batch_idx: int) -> None:
        """Fit the head of one draw."""
        weight, bias, inverse_penalty, best = self.fit_draw(batch)
        chosen = {"inverse_penalty": inverse_penalty, "rows": float(len(batch.train.row)), "val_auroc": best}
        self.log_dict({f"train/{name}": value for name, value in chosen.items()}, batch_size=1)
        self._move_head(batch_idx, weight, bias)

    def fit_draw(self, draw: ProbeDraw) -> tuple[Tensor, Tensor, float, float]:
        """Return weight [L, D], bias [L], the chosen C and its mean AUROC on the validation rows."""
        # On the CPU, since some devices lack double precision.
        drawn, held_out = (FeatureBatch(*(field.cpu() for field in batch)) for batch in (draw.train, draw.valid))
        feature = drawn.feature.double()
        mean, deviation = feature.mean(dim=0), feature.std(dim=0, correction=0).clamp(min=1e-6)
        train, valid = (feature - mean) / deviation, (held_out.feature.double() - mean) / deviation
        solution, best = None, (-1.0, self.inverse_penalties[0])
        for inverse_penalty in self.inverse_penalties:
            # Start from the solution for the previous, stronger penalty.
            solution = fit_logistic(train, drawn.target, inverse_penalty, solution)
            value = mean_auroc(valid @ solution[0].T + solution[1], held_out.target)
            if value > best[0] or inverse_penalty == self.inverse_penalties[0]:
                best, chosen = (value, inverse_penalty), solution
        weight = chosen[0] / deviation
        return weight, chosen[1] - weight @ mean, best[1], best[0]

    def _move_head(self, index: int, weight: Tensor, bias: Tensor) -> None:
        """Move a head to its optimum in one optimiser step of size one, so that the trainer counts and saves it."""
        optimizer = self.optimizers()
        self.weight.grad, self.bias.grad = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        self.weight.grad[index] = self.weight.detach()[index] - weight.to(self.weight)
        self.bias.grad[index] = self.bias.detach()[index] - bias.to(self.bias)
        optimizer.step()  # type: ignore[union-attr]  # one optimiser, so not a list

    def configure_optimizers(self) -> Any:
        """Return gradient descent with step size one; `fit_logistic` does the fitting."""
        return torch.optim.SGD([self.weight, self.bias], lr=1.0)


def mean_auroc(score: Tensor, target: Tensor) -> float:
    """Return the mean AUROC over the labels that have both classes, -1 when none has."""
    labels = trainable_labels(target).nonzero().flatten().tolist()
    values = [float(auroc(score[:, label].numpy(), target[:, label].numpy())) for label in labels]
    return sum(values) / len(values) if values else -1.0
