"""Groups of constructor arguments: dataclasses such as `ImageOptions`, given as an object or as a dictionary."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from types import FunctionType
from typing import Any, get_args, get_type_hints

from igcl_lightning.errors import IgclError, suggestion


def group_defaults(cls: type) -> dict[str, Any]:
    """Return the dataclasses among the defaults of a class's constructor, and of its parents', by name."""
    constructors = (vars(base).get("__init__") for base in reversed(cls.__mro__))
    signatures = (inspect.signature(init) for init in constructors if isinstance(init, FunctionType))
    arguments = (argument for signature in signatures for argument in signature.parameters.values())
    return {argument.name: argument.default for argument in arguments if is_dataclass(argument.default)}


def group_of(cls: type, name: str, given: Any) -> Any:
    """Return the group `name` of a class as its dataclass.

    Args:
        cls: class whose constructor takes the group; its defaults fill the fields that are not given.
        name: name of the argument.
        given: the group as its dataclass, a parent of that, or a dictionary of some of its fields.
    """
    default = group_defaults(cls)[name]
    return given if type(given) is type(default) else replace(default, **group_fields(cls, name, given))


def group_fields(cls: type, name: str, given: Any) -> dict[str, Any]:
    """Return the given fields of a group by name.

    Raises:
        IgclError: the group is neither its dataclass nor a dictionary, or has an unknown field.
    """
    kind = type(group_defaults(cls)[name])
    if is_dataclass(given) and not issubclass(kind, type(given)):  # a checkpoint could not hold further fields
        raise IgclError(f"{cls.__name__}: {name} takes {kind.__name__}, not {type(given).__name__}")
    values = plain(given)
    if not isinstance(values, Mapping):
        raise IgclError(f"{cls.__name__}: {name} is a dictionary of options, not {given!r}")
    known = [f"{name}.{field.name}" for field in fields(kind)]
    for option in (f"{name}.{field}" for field in values):
        if option not in known:
            raise IgclError(f"{cls.__name__} has no option {option!r}{suggestion(option, known)}")
    return dict(values)


def override(cls: type, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored arguments of a class, overridden by the given ones field by field within a group."""
    merged = {**stored, **given}
    for name in group_defaults(cls).keys() & given.keys():
        merged[name] = group_fields(cls, name, stored.get(name) or {}) | group_fields(cls, name, given[name])
    return merged


def plain_arguments(cls: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a class with each group as a dictionary of all its fields."""
    values = {name: plain(value) for name, value in arguments.items()}
    groups = {name: asdict(default) for name, default in group_defaults(cls).items()}
    return {
        name: {**groups[name], **value} if name in groups and isinstance(value, Mapping) else value
        for name, value in values.items()
    }


def option_names(cls: type) -> list[str]:
    """Return the options of a class as spelt on the command line: "name" and "group.field"."""
    try:
        hints = get_type_hints(cls.__init__)  # type: ignore[misc]  # of a class, not of an instance
    except NameError:  # types imported only for type checking
        hints = {}
    names: list[str] = []
    for name in inspect.signature(cls).parameters:
        hint = hints.get(name)
        groups = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and is_dataclass(kind)]
        names += [f"{name}.{field}" for group in groups for field in option_names(group)] or [name]
    return names


def plain(value: Any) -> Any:
    """Return a dataclass as a dictionary, anything else unchanged."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
