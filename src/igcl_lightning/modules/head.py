"""The base of all modules that are trained on an image encoder: heads, and decoders of masks."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import nn

from igcl_lightning.errors import IgclError
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.modules.pretrained import PretrainedEncoder


class HeadModule(BaseModule):
    """Base class of modules on an image encoder; a subclass sets `encoder` and defines `default_name`.

    Args:
        name: name of the results; `default_name` when None.
        origin: how the module was trained; written into checkpoints.
        optim: optimiser and learning-rate schedule.
    """

    trains = True
    """Whether results need the checkpoint of a fit."""

    encoder: PretrainedEncoder | None

    def __init__(self, name: str | None, origin: dict[str, Any] | None, optim: OptimOptions) -> None:
        super().__init__(optim)
        self.name = name
        self.origin = origin

    @abstractmethod
    def default_name(self) -> str:
        """Return the default name of the results."""

    @property
    def method_name(self) -> str:
        """Name of the results."""
        if self.name is not None:
            return self.name
        return self.default_name() if self.origin is None else str(self.origin["method"])

    @property
    def image_encoder(self) -> nn.Module | None:
        """The image encoder; None if there is none, as where features come from a file."""
        return None if self.encoder is None else self.encoder.image_encoder

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that rebuild this module, without the pretraining checkpoint."""
        encoder = {} if self.encoder is None else {"checkpoint": None, "encoder": self.encoder.stored}
        return super().portable_hyperparameters() | encoder | {"origin": self.origin}

    def agreed_names(self, stage: str, trained: list[str] | None, option: str, given: list[str]) -> list[str]:
        """Return the names of what is predicted, which must be those that the module was trained on.

        Args:
            stage: stage of Lightning's `setup`.
            trained: names that the module was trained on; None if it never was.
            option: option of the data module that gives names, such as "data.labels".
            given: names that it gives.

        Raises:
            IgclError: the names differ, or an untrained module is to be evaluated.
        """
        if stage != "fit" and trained is None:
            raise IgclError(f"this {type(self).__name__} was never trained: give its checkpoint with --ckpt_path")
        if trained is not None and trained != given:
            raise IgclError(f"the module was trained on {', '.join(trained)}; {option} gives {', '.join(given)}")
        return given
