"""Files of YAML that become a dataclass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from igcl_lightning.errors import UsageError
from igcl_lightning.training.options import Written, explain, nulls, read_options

Content = TypeVar("Content")


def find_yaml(name: str, option: str) -> Path:
    """Return the path of a file, or of a shipped one such as evaluation/reclf.yaml.

    Raises:
        UsageError: there is no such file, or it is not a mapping; the message calls it by `option`.
    """
    return _read(name, option)[0]


def _read(name: str, option: str) -> tuple[Path, list[Written]]:
    try:
        (_, path), written = read_options(["--config", name])
    except UsageError as error:
        raise UsageError(error.message.replace("--config", option, 1)) from None
    return Path(path), written


def read_yaml(
    content: type[Content], name: str, option: str, known: Iterable[str] = (), besides: Iterable[str] = ()
) -> tuple[Path, Content]:
    """Read a file, or a shipped one such as evaluation/reclf.yaml; returns where it is, and what it says.

    Args:
        content: dataclass of the content.
        name: name of the file.
        option: what the command line calls it.
        known: further keys to suggest, such as those of items of a list.
        besides: keys of text that are not part of the content.

    Raises:
        UsageError: there is no such file, a key is unknown or a value has the wrong type.
    """
    path, written = _read(name, option)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(content, as_group=False)
    for key in besides:
        parser.add_argument(f"--{key}", type=str)
    try:
        values = vars(parser.instantiate(parser.parse_path(str(path))))
        value = content(**{key: each for key, each in values.items() if key not in besides})
    except TypeError as error:  # a group of options that is a single value
        groups = [field.name for field in fields(content) if is_dataclass(field.default)]  # type: ignore[arg-type]  # it is one
        raise UsageError(f"{path}: {' or '.join(groups) or 'a value'} is not a mapping of options") from error
    except ArgumentError as error:
        raise UsageError(explain(str(error), written, [*parser.get_defaults().keys(), *known], (), {})) from None
    for key, expected in nulls(content, value):
        raise UsageError(f"{path}: {key}: expected {expected}, got null")
    return path, value
