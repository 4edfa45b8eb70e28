"""A pretrained image encoder as heads hold it: images in, features out."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.modules.base import BaseModule, read_checkpoint, rebuild
from igcl_lightning.nn.external_encoder import create_image_encoder
from igcl_lightning.nn.projection import ProjectionHead

FEATURES = ("pooled", "projected")
NO_ENCODER = "give either model.checkpoint (a pretrained encoder) or model.backbone (timm:NAME or xrv:NAME)"


class PretrainedEncoder(nn.Module):
    """An image encoder and what is read from it: its pooled vector, or the projection of that, not normalised.

    Args:
        image_encoder: maps grey values 0-255 [B, 1, H, W] to `Encoded`; has `out_channels`.
        image_projection: projects the pooled vectors; None leaves them as they are.
        method: name of the method that trained the encoder, under which results of a probe on it are reported.
        stored: arguments that rebuild the module the encoder is part of (`BaseModule.portable_hyperparameters`); None
            where its name alone does.
        frozen: whether the encoder keeps its weights and stays in eval mode, so that batch norms do not drift.
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
        """How the inputs of its pretraining were made (`BaseModule.input_record`), if that is known."""
        if frozen:
            self.eval().requires_grad_(False)

    @classmethod
    def find(
        cls,
        checkpoint: str | None,
        backbone: str | None,
        image_size: int | None,
        image_weights: str,
        features: str,
        stored: dict[str, Any] | None,
        frozen: bool,
    ) -> Self | None:
        """Return the encoder that a head's arguments name, None where they name none.

        Args:
            checkpoint: of a pretrained module, or of a head, whose encoder is taken.
            backbone: name of an encoder instead (see `create_image_encoder`).
            image_size: side of the square that backbone sees, in pixels; None is its own default.
            image_weights: weights of that backbone: "none", "hub" or a file.
            features: "pooled", or "projected" by the projection that the checkpoint holds.
            stored: arguments that rebuild the module instead, with random weights.
            frozen: see the class.

        Raises:
            IgclError: more than one of checkpoint, backbone and stored is given, the features are unknown, or the
                module lacks an encoder or a projection.
        """
        if [checkpoint, backbone, stored].count(None) < 2:
            raise IgclError(f"{NO_ENCODER}, not both")
        if features not in FEATURES:
            raise IgclError(f"model.features {features!r} is not one of {', '.join(FEATURES)}")
        if checkpoint is not None:
            # Read from the file: under the command line, `hparams` of a module made in here would be this module's.
            stored = read_checkpoint(checkpoint)["hyper_parameters"]
            return cls._of(BaseModule.load_from_checkpoint(checkpoint, map_location="cpu"), features, stored, frozen)
        if stored is not None:
            return cls._of(rebuild(stored), features, stored, frozen)
        if features == "projected":
            raise IgclError("model.features projected: only a pretrained model projects; give model.checkpoint")
        if backbone is None:
            return None
        encoder = create_image_encoder(backbone, image_size, image_weights)
        return cls(encoder, method=_backbone_name(backbone, image_weights), frozen=frozen)

    @classmethod
    def _of(cls, pretrained: BaseModule, features: str, stored: dict[str, Any], frozen: bool) -> Self:
        """Take the encoder out of a module, or out of a head that holds one itself."""
        held = getattr(pretrained, "encoder", None)
        owner = held if isinstance(held, PretrainedEncoder) else pretrained
        encoder, projection = getattr(owner, "image_encoder", None), getattr(owner, "image_projection", None)
        if not isinstance(encoder, nn.Module):
            raise IgclError(f"{type(pretrained).__name__} has no image_encoder to take")
        if features == "pooled":
            projection = None
        elif not isinstance(projection, ProjectionHead):
            raise IgclError(f"{type(pretrained).__name__} has no image_projection to take")
        method = str(stored["_class_path"]).rpartition(".")[2].lower()
        taken = cls(encoder, projection, method, stored, frozen)
        # Weights that a head left alone saw what they were pretrained on; others what the head was trained on.
        taken.input_record = held.input_record if owner is held and held.frozen else pretrained.input_record
        return taken

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
        """Switch the mode; a frozen encoder stays in eval mode."""
        return super().train(mode and not self.frozen)

    def portable_arguments(self) -> dict[str, Any]:
        """Return the arguments with which a head finds its encoder again without the pretraining checkpoint."""
        return {"checkpoint": None, "encoder": self.stored}


def _backbone_name(backbone: str, weights: str) -> str:
    """Return the method of an encoder that was not pretrained here: "random", or its name with the library's."""
    if weights == "none":
        return "random"
    return backbone if ":" in backbone else f"timm:{backbone}"
