"""What all modules share: self-describing checkpoints and the optimiser."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from igcl_lightning.errors import IgclError
from igcl_lightning.modules.schedule import SCHEDULES, schedule_factor


class ParameterGroup(NamedTuple):
    """Parameters that are trained alike.

    Attributes:
        parameters: trainable parameters.
        weight_decay: of AdamW.
        frozen_steps: optimiser steps at the start of training during which their learning rate is zero.
    """

    parameters: list[nn.Parameter]
    weight_decay: float
    frozen_steps: int = 0


class BaseModule(LightningModule):
    """A module whose checkpoints say what they are.

    Constructors of subclasses take plain values (str, int, float, bool, None, lists and dicts of them) and call
    `self.save_hyperparameters()`; then `load_from_checkpoint(path)`, of the subclass and of this class, needs no other
    argument. The class of a user's own must be imported before.

    Args:
        learning_rate: peak learning rate of AdamW.
        weight_decay: decay of weight matrices; biases, norms and the loss's temperature have none.
        warmup_fraction: share of all steps during which the learning rate rises linearly.
        schedule: what follows: "cosine" falls to zero at the planned end, "constant" stays.

    Raises:
        IgclError: unknown schedule.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_fraction: float = 0.05,
        schedule: str = "cosine",
    ) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise IgclError(f"model.schedule {schedule!r} is not one of {', '.join(SCHEDULES)}")
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_fraction = warmup_fraction
        self.schedule = schedule

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning's further arguments pass through kwargs
        cls, checkpoint_path: Any, *, weights_only: bool | None = True, **kwargs: Any
    ) -> Self:
        """Load a checkpoint of this class or of an imported subclass, as data and never as code.

        Args:
            checkpoint_path: file that training wrote.
            weights_only: see `torch.load`.
            kwargs: Lightning's further arguments, and constructor arguments to override.

        Raises:
            IgclError: the file is missing or no checkpoint, or holds a module of another class.
        """
        stored = read_checkpoint(checkpoint_path).get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {})
        target = module_class(stored["_class_path"]) if "_class_path" in stored else cls
        if target is cls:
            return super().load_from_checkpoint(checkpoint_path, weights_only=weights_only, **kwargs)
        if not issubclass(target, cls):
            raise IgclError(f"{checkpoint_path}: holds a {target.__name__}, not a {cls.__name__}")
        return target.load_from_checkpoint(checkpoint_path, weights_only=weights_only, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the class path the way LightningCLI does, so that the base class can load the checkpoint."""
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.portable_hyperparameters() | {
            "_instantiator": "lightning.pytorch.cli.instantiate_module"
        }

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the class and arguments that rebuild this module around its stored weights, needing no other file.

        `image_weights` names what the weights were before training; the checkpoint holds what they became.
        """
        accepted = inspect.signature(type(self)).parameters
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        hyperparameters = {name: value for name, value in self.hparams.items() if anything or name in accepted}
        hyperparameters |= {"_class_path": f"{type(self).__module__}.{type(self).__qualname__}"}
        if "image_weights" in hyperparameters:
            hyperparameters["image_weights"] = "none"
        return hyperparameters

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and decay over all planned steps.

        Raises:
            IgclError: the run has no planned end, or one that is not known in steps.
        """
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise IgclError("the learning rate is planned to the end: set trainer.max_epochs or trainer.max_steps")
        if steps < 1:  # Lightning's -1 for epochs whose length nobody knows
            raise IgclError(
                "the learning rate is planned to the end, which a stream does not tell: set trainer.max_steps"
            )
        groups = [group for group in self.parameter_groups() if group.parameters]
        optimizer = torch.optim.AdamW(
            [{"params": group.parameters, "weight_decay": group.weight_decay} for group in groups],
            lr=self.learning_rate,
        )
        factors = [
            schedule_factor(self.schedule, int(steps), self.warmup_fraction, group.frozen_steps) for group in groups
        ]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factors), "interval": "step"}}

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return all trainable parameters, in groups that are trained alike."""
        return self.split_by_decay(self.parameters())

    def split_by_decay(self, parameters: Iterable[nn.Parameter], frozen_steps: int = 0) -> list[ParameterGroup]:
        """Return the trainable ones in two groups: weight matrices, and the rest without weight decay."""
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        return [
            ParameterGroup([p for p in trainable if p.ndim > 1], self.weight_decay, frozen_steps),
            ParameterGroup([p for p in trainable if p.ndim <= 1], 0.0, frozen_steps),
        ]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint as data, its tensors mapped from the file.

    Raises:
        IgclError: the file is missing or is no checkpoint.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise IgclError(f"{path}: no such checkpoint") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise IgclError(f"{path}: not a checkpoint that loads as plain data") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise IgclError(f"{path}: is not a checkpoint of a training run")
    return checkpoint


def module_class(class_path: str) -> type[BaseModule]:
    """Return the module class of a stored class path.

    Only classes that are imported already are considered, so that a checkpoint cannot name code to run.

    Raises:
        IgclError: no imported class has this path.
    """
    for candidate in _subclasses(BaseModule):
        if f"{candidate.__module__}.{candidate.__qualname__}" == class_path:
            return candidate
    raise IgclError(f"the checkpoint's class {class_path!r} is not known here; name its module with --import")


def rebuild(hyperparameters: dict[str, Any]) -> BaseModule:
    """Rebuild a module, with random weights, from `portable_hyperparameters`.

    Raises:
        IgclError: its class is not imported.
    """
    wanted = module_class(hyperparameters["_class_path"])
    return wanted(**{name: value for name, value in hyperparameters.items() if not name.startswith("_")})


def _subclasses(parent: type[BaseModule]) -> Iterator[type[BaseModule]]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)
