"""What a person wrote, on the command line and in configs, and one line for what is wrong with it.

Light: the commands that need no Lightning use it too.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import itertools
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

CONFIG_OPTIONS = ("-c", "--config")


class UsageError(SystemExit):
    """The command cannot be understood: exit status 2 and one line that names the option.

    A `SystemExit`, as argparse itself raises, so that no parser in between takes it for one failed reading of many.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = one_line(message)


class OneLineParser(argparse.ArgumentParser):
    """An `argparse` parser that answers a mistake with a `UsageError` in place of a page, and never abbreviates.

    Attributes:
        passed_on: beginnings of options that another parser reads; they and their values become `options.passed_on`.
    """

    passed_on: tuple[str, ...] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse, after naming an unknown option: left to argparse, a missing one would hide the misspelt one."""
        words = list(sys.argv[1:] if args is None else args)
        own = itertools.takewhile(lambda word: word.startswith("-"), words) if self._subparsers else words
        for option in (word.partition("=")[0] for word in own if word.startswith("--")):
            if option not in self._option_string_actions and not option.startswith(self.passed_on):
                self.error(f"{option}: unknown option{suggestion(option, self._option_string_actions)}")
        options, rest = super().parse_known_args(words, namespace)
        if self.passed_on:
            options.passed_on, rest = rest, []
        return options, rest

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the command's name in front."""
        if match := re.search(r"invalid choice: '(.+?)' \(choose from (.+)\)", message):
            choices = re.findall(r"[\w-]+", match[2])
            message = f"unknown choice {match[1]!r}{suggestion(match[1], choices)} ({', '.join(choices)})"
        command = self.prog.partition(" ")[2]
        raise UsageError(f"{command}: {message}" if command else message)


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


def one_line(text: object) -> str:
    """Return `text` with every run of white space, line breaks too, as one space."""
    return " ".join(str(text).split())


def message_of(error: BaseException) -> str:
    """Return the message of an error as one line; of one that a loader's worker raised, without the trace there."""
    text = str(error)
    if text.startswith("Caught ") and "Original Traceback" in text:
        text = text[text.rindex(f"{type(error).__name__}: ") :].partition(": ")[2]
    return one_line(text)


def report(kind: str, message: str) -> None:
    """Write one line to standard error: kind is "error" or "warning"."""
    sys.stderr.write(f"igcl: {kind}: {message}\n")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ", did you mean X?" with the closest of `known`, or nothing when none is close."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1) or [name for name in names if name.startswith(word)]
    return f", did you mean {near[0]}?" if near else ""


def shipped_configs() -> Path:
    """Return the folder of shipped configs: inside an installed package, beside `src` in a checkout."""
    package = Path(__file__).parent
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
        yield from (f"{prefix}.{name}" for name in inspect.signature(cls).parameters)


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
