"""The options a person wrote, on the command line and in configs, and one line for what is wrong with them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from igcl_lightning.errors import UsageError, one_line, suggestion
from igcl_lightning.modules.groups import option_names

CONFIG_OPTIONS = ("-c", "--config")


class Written(NamedTuple):
    """One option as a person wrote it.

    Attributes:
        key: its dotted name without the inner "init_args", such as "model.learning_rate".
        shown: where it stands: "--model.learning_rate", or "my.yaml, line 3: model.init_args.learning_rate".
        value: its text, empty where the value is a block of further options.
    """

    key: str
    shown: str
    value: str


def shipped_configs() -> Path:
    """Return the folder of shipped configs: inside an installed package, beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def resolve_configs(words: list[str]) -> list[str]:
    """Return `words` with every --config naming a file that exists.

    Raises:
        UsageError: a config is in neither the current folder nor the shipped ones, or is not a mapping of options.
    """
    resolved = list(words)
    for index, word in enumerate(words):
        option, equals, name = word.partition("=")
        if option in CONFIG_OPTIONS and equals:
            resolved[index] = f"{option}={_find_config(name)}"
        elif option in CONFIG_OPTIONS and index + 1 < len(words):
            resolved[index + 1] = _find_config(words[index + 1])
    return resolved


def written_options(words: list[str]) -> list[Written]:
    """Return every option in `words`, those inside the configs they name included, in reading order."""
    options: list[Written] = []
    for index, word in enumerate(words):
        if not word.startswith("-"):
            continue
        option, equals, value = word.partition("=")
        following = "".join(words[index + 1 : index + 2])
        value = value if equals or following.startswith("--") else following
        if option in CONFIG_OPTIONS:
            options.extend(_options_in_config(value))
        else:
            options.append(Written(plain_key(option.lstrip("-")), option.rstrip("+"), value))
    return options


def plain_key(key: str) -> str:
    """Return a dotted option name without "init_args" and without the "+" that appends."""
    return ".".join(part.rstrip("+") for part in key.split(".") if part != "init_args")


def class_options(prefix: str, base: type, written: list[Written]) -> Iterator[str]:
    """Yield "prefix.argument" for the constructor arguments of the classes chosen there, or of all that could be.

    Args:
        prefix: where the class is chosen, such as "model".
        base: what its class is a subclass of.
        written: the options that were given.
    """
    places = (prefix, f"{prefix}.class_path")
    names = {option.value.rpartition(".")[2] for option in written if option.key in places}
    candidates = {base, *all_subclasses(base)}
    for cls in {cls for cls in candidates if cls.__name__ in names} or candidates:
        yield from (f"{prefix}.{name}" for name in option_names(cls))


def all_subclasses(base: type) -> set[type]:
    """Return the imported subclasses of `base`, direct and indirect."""
    children: list[type] = base.__subclasses__()
    return {found for child in children for found in {child, *all_subclasses(child)}}


def explain(message: str, written: list[Written], known: Collection[str], classes: Collection[str]) -> str:
    """Turn a parser's message into one line that names the option, where it stands, and what was probably meant.

    Args:
        message: what the parser says, over any number of lines.
        written: the options that were given.
        known: the names of options that exist, as `plain_key` writes them.
        classes: the names of classes that a class path may use bare.
    """
    if match := re.match(r"argument (--\S+): (expected .+)", message):  # it names --model where --model.width was given
        bare = (option.shown for option in written if not option.value and option.shown.startswith(match[1]))
        return f"{next(bare, match[1])}: {match[2]}"
    option = _named_option(message, written)
    shown = f"{option.shown}: " if option else ""
    if option and option.key not in known and re.search(r"not accept|unrecognized|not expected", message):
        dashes = "--" if option.shown.startswith("-") else ""
        return f"{shown}unknown option{suggestion(dashes + option.key, [dashes + key for key in known])}"
    if match := re.search(r"Expected a dot import path string: (\S+)", message):
        return f"{shown}no class is called {match[1]!r}{suggestion(match[1], classes)}"
    reasons = re.findall(r"^ +- (.+(?:\n {5,}[^- ].*)*)", message, flags=re.MULTILINE)
    if telling := [reason for reason in reasons if not reason.startswith(("Expected a", "Does not validate"))]:
        return f"{shown}{one_line(telling[0])}"
    types = re.findall(r"Expected an? (?:<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.+?)\])", message)
    if option and option.value and types:
        accepted = " or ".join(name or choices for name, choices in types).replace("NoneType", "null")
        return f"{shown}expected {accepted}, got {option.value!r}"
    return f"{shown}{one_line(message)}"


def _named_option(message: str, written: list[Written]) -> Written | None:
    """Return the written option that a message names; of several, one whose value it quotes, then the last."""
    names = [plain_key(name.lstrip("-")) for name in re.findall(r"(?<=['\"])[\w.+-]+(?=['\"])|--[\w.+-]+", message)]
    if match := re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message):
        names.insert(0, f"{match[1]}.{match[2]}")
    for name in names:
        options = [option for option in reversed(written) if f".{option.key}".endswith(f".{name}")]
        if options:
            return next((option for option in options if option.value and option.value in message), options[0])
    return None


def _find_config(name: str) -> str:
    if name.startswith("{") or "\n" in name or "://" in name:  # the options themselves, or an address
        return name
    places = (Path(name), shipped_configs() / name, shipped_configs() / name.removeprefix("configs/"))
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        near = ", ".join(_near_configs(name))
        raise UsageError(f"--config {name}: no such file, here or among the shipped configs; near: {near or 'none'}")
    _config_tree(found)
    return str(found)


def _near_configs(name: str) -> list[str]:
    shipped = shipped_configs()
    known = {path.relative_to(shipped).as_posix() for path in shipped.rglob("*.yaml")}
    known |= {path.as_posix() for path in Path(name).parent.glob("*.yaml")}

    def likeness(other: str) -> float:
        asked, offered = Path(name.removeprefix("configs/")).with_suffix(""), Path(other).with_suffix("")
        pairs = ((str(asked), str(offered)), (asked.name, offered.name))
        return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)

    return [other for other in sorted(known, key=likeness, reverse=True) if likeness(other) > 0.5][:3]


def _config_tree(path: Path) -> yaml.MappingNode:
    try:
        tree = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not valid YAML: {error.problem}") from None
    if not isinstance(tree, yaml.MappingNode):
        raise UsageError(f"{path}: a config is a mapping of options such as 'trainer:', this one is not")
    return tree


def _options_in_config(name: str) -> Iterator[Written]:
    path = Path(name)
    if path.is_file():
        for key, line, value in _keys(_config_tree(path)):
            yield Written(plain_key(key), f"{path}, line {line}: {key}", value)


def _keys(node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, int, str]]:
    """Yield name, line and text of every option at or below `node`; list items and init_args are no options."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if key.value != "init_args":
                yield name, key.start_mark.line + 1, value.value if isinstance(value, yaml.ScalarNode) else ""
            yield from _keys(value, f"{name}.")
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _keys(item, prefix)
