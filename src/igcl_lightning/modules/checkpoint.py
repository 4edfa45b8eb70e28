"""Checkpoints from any source: read as data, checked before anything is built, with one-line errors."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import instantiate_module

from igcl_lightning.errors import IgclError, one_line, suggestion
from igcl_lightning.modules.groups import group_defaults, group_fields, option_names

HYPER_PARAMETERS = "hyper_parameters"
CLASS_PATH = "_class_path"


def read_checkpoint(path: str | Path, map_location: Any = "cpu", *, mmap: bool = True) -> dict[str, Any]:
    """Read a checkpoint as data only, never as code.

    Its `state_dict` and `hyper_parameters` are dictionaries by name, the latter empty if missing.

    Args:
        path: checkpoint file.
        map_location: device of the tensors, as in `torch.load`.
        mmap: whether tensors are mapped from the file, which must then not change while they are used.

    Raises:
        IgclError: the file is missing, is not a checkpoint or holds more than plain data.
    """
    try:
        checkpoint: Any = torch.load(path, map_location, weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise IgclError(f"{path}: no such checkpoint") from None
    except IsADirectoryError:
        raise IgclError(f"{path}: a folder, not a checkpoint; of runs in it, give {path}/latest") from None
    except Exception as error:  # any bytes may be read
        raise IgclError(f"{path}: not a checkpoint that loads as plain data") from error
    if not isinstance(checkpoint, dict) or not _is_named(checkpoint.get("state_dict")):
        raise IgclError(f"{path}: is not a checkpoint of a training run")
    stored = checkpoint.setdefault(HYPER_PARAMETERS, {})
    if not _is_named(stored) or not isinstance(stored.get(CLASS_PATH, ""), str):
        raise IgclError(f"{path}: its hyper-parameters are damaged")
    return checkpoint


def split_arguments(cls: type, stored: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split stored arguments into those that a class names and those it takes as `**kwargs`.

    Raises:
        IgclError: it does not take some of them, or some fields of a group.
    """
    parameters = inspect.signature(cls).parameters
    arguments = {name: value for name, value in stored.items() if not name.startswith("_")}
    named = {name: value for name, value in arguments.items() if name in parameters}
    others = {name: value for name, value in arguments.items() if name not in parameters}
    if others and all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
        first, *more = others
        raise IgclError(
            f"{cls.__name__} has no argument {first!r}{suggestion(first, option_names(cls))}"
            f"{f' (nor {len(more)} others)' if more else ''}: it was written by another version of the class"
        )
    for name in group_defaults(cls).keys() & arguments.keys():
        if arguments[name] is not None:  # a class of a user's own may make the group itself
            group_fields(cls, name, arguments[name])
    return named, others


def build(cls: type, stored: Mapping[str, Any]) -> Any:
    """Build an object from stored arguments; instantiates class paths among them, as on the command line."""
    named, others = split_arguments(cls, stored)
    path = class_path(cls)
    try:
        if imported(path) is cls:
            return instantiate_module(cls, {CLASS_PATH: path, **named, **others})
        return cls(**named, **others)
    except IgclError:
        raise
    except Exception as error:  # a constructor may raise anything when its arguments are damaged
        origin: BaseException = error
        while origin.__cause__ is not None and not isinstance(origin, IgclError):
            origin = origin.__cause__
        if isinstance(origin, IgclError):
            raise origin from error
        raise IgclError(f"{cls.__name__} cannot be built from its arguments ({one_line(origin)[:300]})") from error


def class_path(cls: type) -> str:
    """Return the name under which checkpoints store a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def subclasses(parent: type) -> list[type]:
    """Return the imported subclasses of a class, direct and indirect."""
    children: list[type] = parent.__subclasses__()
    return [found for child in children for found in (child, *subclasses(child))]


def imported(path: str) -> Any:
    """Return the object of a dotted name if its module is imported, or None."""
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)
