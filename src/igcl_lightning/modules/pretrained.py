"""Image encoder of a head, from a checkpoint or by name."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.modules.base import BaseModule, rebuild
from igcl_lightning.modules.checkpoint import CLASS_PATH, HYPER_PARAMETERS, read_checkpoint
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.external_encoder import ExternalOptions, create_image_encoder
from igcl_lightning.nn.projection import ProjectionHead
from igcl_lightning.nn.tuning import FULL, LAST_BLOCK, LORA, LoraOptions, add_adapters, last_block, merge_adapters

FEATURES = ("pooled", "projected")
NO_ENCODER = "give either model.checkpoint (a pretrained encoder) or model.image.backbone (timm:NAME or xrv:NAME)"


class PretrainedEncoder(nn.Module):
    """An image encoder that returns its pooled vectors, or their projections without normalisation.

    Args:
        image_encoder: maps grey values 0-255 [B, 1, H, W] to `Encoded`; has `out_channels`.
        image_projection: projection of the pooled vectors, or None.
        method: name of the method that trained the encoder, and of a probe's results.
        stored: `BaseModule.portable_hyperparameters` of the encoder's module; None for an encoder by name.
        frozen: whether the encoder keeps its weights and stays in eval mode, so that batch norms do not drift.

    Attributes:
        input_record: record of the inputs of the pretraining (see `InputRecord`), None if it is unknown.
        tuned: names of the modules that are trained, None if `frozen` says it of all.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        image_projection: ProjectionHead | None = None,
        method: str = "random",
        stored: dict[str, Any] | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.image_projection = image_projection
        self.method = method
        self.stored = stored
        self.frozen = frozen
        self.input_record: dict[str, Any] | None = None
        self.tuned: list[str] | None = None
        self.train().requires_grad_(not frozen)  # an encoder of a head may come frozen, wholly or in part

    @classmethod
    def find(
        cls, checkpoint: str | None, image: ExternalOptions, stored: dict[str, Any] | None, features: str, frozen: bool
    ) -> Self | None:
        """Return the encoder selected by a head's arguments; None if they select none.

        Args:
            checkpoint: checkpoint of a pretrained module, or of a head, whose encoder is taken.
            image: an encoder by name instead.
            stored: arguments that rebuild the module instead, with random weights.
            features: "pooled", or "projected" by the projection that the checkpoint holds.
            frozen: see the class.

        Raises:
            IgclError: several encoders are selected, the features are unknown, or the encoder or projection is missing.
        """
        if [checkpoint, image.backbone, stored].count(None) < 2:
            raise IgclError(f"{NO_ENCODER}, not both")
        check_choice("model.features", features, FEATURES)
        if checkpoint is not None:
            # From the file: on the command line, `hparams` of a module built here would be those of the head.
            stored = read_checkpoint(checkpoint)[HYPER_PARAMETERS]
            return cls._of(BaseModule.load_from_checkpoint(checkpoint, map_location="cpu"), features, stored, frozen)
        if stored is not None:
            return cls._of(rebuild(stored), features, stored, frozen)
        if features == "projected":
            raise IgclError("model.features projected needs a pretrained model: give model.checkpoint")
        if image.backbone is None:
            return None
        name = image.backbone if ":" in image.backbone else f"timm:{image.backbone}"
        return cls(create_image_encoder(image), method="random" if image.weights == "none" else name, frozen=frozen)

    @classmethod
    def _of(cls, pretrained: BaseModule, features: str, stored: dict[str, Any], frozen: bool) -> Self:
        """Return the encoder of a pretraining module or of a head."""
        held = getattr(pretrained, "encoder", None)
        owner = held if isinstance(held, PretrainedEncoder) else pretrained
        encoder, projection = getattr(owner, "image_encoder", None), getattr(owner, "image_projection", None)
        if not isinstance(encoder, nn.Module):
            raise IgclError(f"{type(pretrained).__name__} has no image_encoder")
        merge_adapters(encoder)
        if features == "pooled":
            projection = None
        elif not isinstance(projection, ProjectionHead):
            raise IgclError(f"{type(pretrained).__name__} has no image_projection")
        method = str(stored[CLASS_PATH]).rpartition(".")[2].lower()
        taken = cls(encoder, projection, method, stored, frozen)
        # A frozen encoder was trained on the images of its pretraining, others on those of the head.
        taken.input_record = held.input_record if owner is held and held.frozen else pretrained.input_record
        return taken

    def tune(self, tune: str, lora: LoraOptions) -> None:
        """Choose what is trained (see `nn.tuning`); all else keeps its weights and stays in eval mode.

        Raises:
            IgclError: the encoder has no last block, or no attention to adapt.
        """
        if tune == FULL:
            return
        self.requires_grad_(False)
        chosen = add_adapters(self.image_encoder, lora) if tune == LORA else last_block(self.image_encoder)
        self.tuned = [f"image_encoder.{name}" for name in chosen]
        if tune == LAST_BLOCK and self.image_projection is not None:
            self.tuned.append("image_projection")
        for name in self.tuned:
            self.get_submodule(name).requires_grad_(True)
        self.train()

    @property
    def out_channels(self) -> int:
        """Length D of the features."""
        channels: int = (self.image_projection or self.image_encoder).out_channels  # type: ignore[assignment]  # no tensor
        return channels

    def forward(self, image: Tensor) -> Tensor:
        """Map grey values 0-255 [B, 1, H, W] to features [B, D]."""
        pooled: Tensor = self.image_encoder(image).pooled
        return pooled if self.image_projection is None else self.image_projection.project(pooled)

    def train(self, mode: bool = True) -> Self:
        """Switch the mode; what is frozen stays in eval mode."""
        super().train(mode and not self.frozen and self.tuned is None)
        for name in self.tuned or ():
            self.get_submodule(name).train(mode)
        return self
