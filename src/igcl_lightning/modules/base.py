"""The base of all modules: self-describing checkpoints and the optimiser."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from lightning.pytorch.utilities.model_helpers import is_overridden

from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.modules import checkpoint as checkpoints
from igcl_lightning.modules.checkpoint import CLASS_PATH, HYPER_PARAMETERS, build, class_path
from igcl_lightning.modules.groups import group_of, override, plain_arguments
from igcl_lightning.modules.input_record import InputRecord
from igcl_lightning.modules.optim import SCHEDULES, OptimOptions, ParameterGroup, scheduled_adamw, split_by_decay
from igcl_lightning.modules.sharding import plain_class, shard
from igcl_lightning.nn.checks import check_choice

INSTANTIATOR = "_instantiator"
"""Name of what Lightning's command line adds to hyper-parameters; only a checkpoint needs it."""


class BaseModule(InputRecord):
    """A module whose checkpoints load from their path alone.

    Constructors of subclasses take plain values (str, int, float, bool, None, lists and dicts of them) and groups of
    them (dataclasses, or dictionaries of their fields), and call `self.save_hyperparameters()`; `self.group` returns
    a group as its dataclass. A user's own class must be imported before its checkpoint is loaded.

    Args:
        optim: optimiser and learning-rate schedule.

    Raises:
        IgclError: unknown schedule.
    """

    def __init__(self, optim: OptimOptions = OptimOptions()) -> None:
        super().__init__()
        self.optim: OptimOptions = self.group("optim", optim)
        check_choice("model.optim.schedule", self.optim.schedule, SCHEDULES)

    def group(self, name: str, given: Any) -> Any:
        """Return the group `name` of the constructor's arguments as its dataclass; `IgclError` for an unknown field."""
        return group_of(type(self), name, given)

    def _set_hparams(self, hp: Any) -> None:
        """Keep groups as dictionaries of plain values; Lightning saves hyper-parameters through here."""
        given = {name: value for name, value in self._to_hparams_dict(hp).items() if name != INSTANTIATOR}
        super()._set_hparams(plain_arguments(type(self), given))

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # fewer arguments
        cls, checkpoint_path: str | Path, map_location: Any = None, strict: bool | None = None, **kwargs: Any
    ) -> Self:
        """Load a checkpoint of this class or of an imported subclass, as data only, never as code.

        Args:
            checkpoint_path: file that training wrote.
            map_location: device of the module, as in `torch.load`; by default that of training, if available.
            strict: whether missing and unknown weights raise; by default the module's `strict_loading`.
            kwargs: constructor arguments to override, field by field within a group.

        Raises:
            IgclError: the file is no checkpoint, or its class, arguments or weights do not fit.
        """
        if kwargs.pop("weights_only", True) is False:  # an argument of Lightning's
            raise IgclError(f"{checkpoint_path}: checkpoints are always loaded as plain data; leave out weights_only")
        checkpoint = checkpoints.read_checkpoint(checkpoint_path, map_location or _where_available)
        try:
            module = cls._from_checkpoint(checkpoint, strict, kwargs)
        except IgclError as error:
            raise IgclError(f"{checkpoint_path}: {error}") from error
        devices = (value.device for value in checkpoint["state_dict"].values() if isinstance(value, torch.Tensor))
        return module.to(next(devices, module.device))

    @classmethod
    def _from_checkpoint(cls, checkpoint: dict[str, Any], strict: bool | None, given: dict[str, Any]) -> Self:
        stored = checkpoint[HYPER_PARAMETERS]
        path = stored.get(CLASS_PATH, class_path(cls))
        target = cls if path == class_path(cls) else module_class(path)
        if not issubclass(target, cls):
            raise IgclError(f"is a checkpoint of {target.__name__}, not of {cls.__name__}")
        module: Self = build(target, override(target, stored, given))
        if is_overridden("configure_model", module):
            module.configure_model()
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading if strict is None else strict)
        return module

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights, as `torch.nn.Module` does; weights that do not fit raise `IgclError`."""
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            said = one_line(error).removeprefix(f"Error(s) in loading state_dict for {type(self).__name__}: ")
            raise IgclError(f"the weights do not fit {type(self).__name__}: {said[:300]}") from error

    def logged_metrics(self, data: Any) -> set[str] | None:
        """Return the names of metrics that a callback can monitor with this data module; None if they are unknown."""
        return None

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch to eval mode without gradients; restores the mode of each part afterwards."""
        modes = {part: part.training for part in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for part, training in modes.items():
                part.training = training

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the input record, and class path and arguments as LightningCLI does."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.portable_hyperparameters() | {
            INSTANTIATOR: "lightning.pytorch.cli.instantiate_module"
        }

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return class and arguments that rebuild this module from its checkpoint alone."""
        cls = plain_class(type(self))
        accepted = inspect.signature(cls).parameters
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        portable = {name: value for name, value in self.hparams.items() if anything or name in accepted}
        if isinstance(image := portable.get("image"), dict) and "weights" in image:
            portable["image"] = {**image, "weights": "none"}  # the checkpoint holds the trained ones
        return portable | {CLASS_PATH: class_path(cls)}

    def configure_model(self) -> None:
        """Shard the module under `ModelParallelStrategy`; an override builds its layers, then calls this."""
        if self.device_mesh is not None:
            shard(self)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule; raises `IgclError` if the total number of steps is unknown."""
        steps = self.trainer.estimated_stepping_batches
        needs = "the learning-rate schedule needs the total number of steps"
        if steps == float("inf"):
            raise IgclError(f"{needs}: set trainer.max_epochs or trainer.max_steps")
        if steps < 1:  # Lightning's -1 for epochs of unknown length
            raise IgclError(f"{needs}, which a stream does not know: set trainer.max_steps")
        return scheduled_adamw(self.parameter_groups(), self.optim, int(steps))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return all trainable parameters, in groups."""
        return split_by_decay(self.parameters(), self.optim.weight_decay)


def module_class(path: str) -> type[BaseModule]:
    """Return the module class of a stored class path; the latest definition if a notebook cell was run again.

    Raises:
        IgclError: no imported class has this path. Nothing is imported: a checkpoint cannot name code to run.
    """
    found = [candidate for candidate in checkpoints.subclasses(BaseModule) if class_path(candidate) == path]
    if not found:
        raise IgclError(f"the checkpoint's class {path!r} is not imported; name its module with --import")
    latest = checkpoints.imported(path)
    return latest if latest in found else found[-1]


def rebuild(hyperparameters: dict[str, Any]) -> BaseModule:
    """Rebuild a module, with random weights, from `portable_hyperparameters`; `IgclError` if they do not fit."""
    path = hyperparameters.get(CLASS_PATH)
    if not isinstance(path, str):
        raise IgclError("an encoder is stored without its class")
    module: BaseModule = build(module_class(path), hyperparameters)
    return module


def _where_available(storage: torch.UntypedStorage, location: str) -> torch.UntypedStorage | None:
    """Return None to load a tensor to its stored device, or the tensor to keep it on the CPU without such a device."""
    kind, _, index = location.partition(":")
    device = torch.accelerator.current_accelerator(check_available=True)
    there = device is not None and kind == device.type and int(index or 0) < torch.accelerator.device_count()
    return None if there else storage
