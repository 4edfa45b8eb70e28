"""What all modules share: self-describing checkpoints and the optimiser."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from igcl_lightning.data.inputs import InputReader, describe_inputs, differences
from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.modules.checkpoint import (
    CLASS_PATH,
    HYPER_PARAMETERS,
    INPUTS,
    build,
    class_path,
    imported,
    misfit,
    read_checkpoint,
)
from igcl_lightning.modules.schedule import SCHEDULES, schedule_factor

__all__ = ["BaseModule", "ParameterGroup", "module_class", "read_checkpoint", "rebuild"]


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
        self.input_record: dict[str, Any] | None = None
        """How the inputs were made that this module was trained on (`describe_inputs`), if that is known."""

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # without what a checkpoint of this package makes needless
        cls,
        checkpoint_path: str | Path,
        map_location: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a checkpoint of this class or of an imported subclass, as data and never as code.

        Args:
            checkpoint_path: file that training wrote.
            map_location: device of the module, as in `torch.load`; by default where it was trained, if that is there.
            strict: whether each weight must be there and known; by default as the module's `strict_loading` says.
            kwargs: constructor arguments to override.

        Raises:
            IgclError: the file is missing or no checkpoint, holds a module of another class, or its arguments or
                weights do not fit the class.
        """
        if kwargs.pop("weights_only", True) is False:  # an argument of Lightning's
            raise IgclError(f"{checkpoint_path}: is loaded as plain data only; leave out weights_only")
        checkpoint = read_checkpoint(checkpoint_path, map_location or _where_available)
        try:
            module = cls._from_checkpoint(checkpoint, strict, kwargs)
        except IgclError as error:
            raise IgclError(f"{checkpoint_path}: {error}") from error
        devices = (value.device for value in checkpoint["state_dict"].values() if isinstance(value, torch.Tensor))
        return module.to(next(devices, module.device))

    @classmethod
    def _from_checkpoint(cls, checkpoint: dict[str, Any], strict: bool | None, given: dict[str, Any]) -> Self:
        stored = checkpoint[HYPER_PARAMETERS]
        target = cls._stored_class(stored.get(CLASS_PATH))
        module = build(target, {**stored, **given})
        if is_overridden("configure_model", module):
            module.configure_model()
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading if strict is None else strict)
        loaded: Self = module
        return loaded

    @classmethod
    def _stored_class(cls, path: str | None) -> type[BaseModule]:
        """Return the class of a checkpoint: this one if it has the stored name, or else the latest that has."""
        if path is None or path == class_path(cls):
            return cls
        target = module_class(path)
        if not issubclass(target, cls):
            raise IgclError(f"holds a {target.__name__}, not a {cls.__name__}")
        return target

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights, as `torch.nn.Module` does.

        Raises:
            IgclError: some are missing, not known, or of another shape.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            said = misfit(self, state_dict) or one_line(error)[:300]
            raise IgclError(f"the weights do not fit {type(self).__name__}: {said}") from error

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of all that training, validation and test log; None where that is not known.

        A callback that monitors any other name is refused before a run starts.

        Args:
            data: the data module.
        """
        return None

    @property
    def input_kinds(self) -> tuple[str, ...]:
        """What the module reads: kinds of `data.inputs.COMPARED`."""
        return ("image",)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store how the inputs were made, and the class path as LightningCLI does, for the base class to load it."""
        self._note_inputs()
        checkpoint[INPUTS] = self.input_record
        checkpoint.update({f"{name}_{INPUTS}": part.input_record for name, part in self._pretrained_parts()})
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.portable_hyperparameters() | {
            "_instantiator": "lightning.pytorch.cli.instantiate_module"
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over how the inputs were made; warn, once, of a data module whose inputs were made otherwise."""
        stored = checkpoint.get(INPUTS)
        self.input_record = stored if isinstance(stored, dict) else None
        for name, part in self._pretrained_parts():
            part.input_record = checkpoint.get(f"{name}_{INPUTS}")
        self._warn_of_other_inputs(self.input_record, self.input_kinds)

    def warn_of_other_images(self) -> None:
        """Warn where a pretrained part was trained on images that were made otherwise than those of the data module."""
        for _, part in self._pretrained_parts():
            self._warn_of_other_inputs(part.input_record, ("image",))

    def _warn_of_other_inputs(self, trained: dict[str, Any] | None, kinds: Sequence[str]) -> None:
        here = describe_inputs(self._data())
        if trained is not None and here is not None and (apart := differences(trained, here, kinds)):
            rank_zero_warn(f"the store was prepared otherwise than that of the checkpoint: {', '.join(apart)}")

    def input_reader(self) -> InputReader:
        """Return what makes tensors of files and texts, as those were made that this module was trained on.

        Raises:
            IgclError: that is not known.
        """
        self._note_inputs()
        if self.input_record is None:
            raise IgclError(
                f"this {type(self).__name__} does not know how its inputs were made: it was not trained on a store of "
                "igcl prepare; give tensors to its encoders"
            )
        return InputReader(self.input_record)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch to eval mode without gradients; afterwards each part is in the mode it was in."""
        modes = {part: part.training for part in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for part, training in modes.items():
                part.training = training

    def _note_inputs(self) -> None:
        """Note how the inputs of a fit are made; other jobs leave what the checkpoint says."""
        trainer = self._trainer
        if self.input_record is None or (trainer is not None and trainer.state.fn == TrainerFn.FITTING):
            self.input_record = describe_inputs(self._data()) or self.input_record

    def _pretrained_parts(self) -> Iterator[tuple[str, Any]]:
        """Yield the parts that know how the inputs of their own training were made, by name."""
        return ((name, part) for name, part in self.named_children() if hasattr(part, "input_record"))

    def _data(self) -> Any:
        return getattr(self._trainer, "datamodule", None)

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the class and arguments that rebuild this module around its stored weights, needing no other file.

        `image_weights` names what the weights were before training; the checkpoint holds what they became.
        """
        accepted = inspect.signature(type(self)).parameters
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        hyperparameters = {name: value for name, value in self.hparams.items() if anything or name in accepted}
        hyperparameters |= {CLASS_PATH: class_path(type(self))}
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


def module_class(path: str) -> type[BaseModule]:
    """Return the module class of a stored class path; of several, such as a notebook cell leaves, the latest.

    Only classes that are imported already are considered, so that a checkpoint cannot name code to run.

    Raises:
        IgclError: no imported class has this path.
    """
    found = [candidate for candidate in _subclasses(BaseModule) if class_path(candidate) == path]
    if not found:
        raise IgclError(f"the checkpoint's class {path!r} is not known here; name its module with --import")
    latest = imported(path)
    return latest if latest in found else found[-1]


def rebuild(hyperparameters: dict[str, Any]) -> BaseModule:
    """Rebuild a module, with random weights, from `portable_hyperparameters`.

    Raises:
        IgclError: its class is not imported, or does not take these arguments.
    """
    path = hyperparameters.get(CLASS_PATH)
    if not isinstance(path, str):
        raise IgclError("an encoder is stored without its class")
    module: BaseModule = build(module_class(path), hyperparameters)
    return module


def _where_available(storage: torch.UntypedStorage, location: str) -> torch.UntypedStorage | None:
    """Leave a stored tensor to go to its device (None); keep it on the CPU where there is no such device."""
    kind, _, index = location.partition(":")
    device = torch.accelerator.current_accelerator(check_available=True)
    there = device is not None and kind == device.type and int(index or 0) < torch.accelerator.device_count()
    return None if there else storage


def _subclasses(parent: type[BaseModule]) -> Iterator[type[BaseModule]]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)
