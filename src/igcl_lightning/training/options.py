"""Options as given on the command line and in configs, and one-line errors for mistakes in them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import yaml

from igcl_lightning.errors import UsageError, one_line, suggestion

CONFIG_OPTIONS = ("-c", "--config")
NULL_OF_A_GROUP = re.compile(r"(--model(?:\.init_args)?\.\w+)\.(\w+)=null")
NOT_A_GROUP = "expected a group of options, such as {size: 64}"

# Messages of jsonargparse.
NO_VALUE = re.compile(r"argument (--\S+): (expected .+)")
UNKNOWN = re.compile(r"(?:Option '|accept option '|unrecognized arguments: --)([\w.+-]+)")
KEY = re.compile(r'Parser key "([\w.]+)":\s*')
NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
REASON = re.compile(
    r"^ +- ((?!Expected a|Does not validate|Not a valid|Parser key).+(?:\n {5,}[^- ].*)*)", re.MULTILINE
)
TYPE = re.compile(r"Expected an? (?:<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.+?)\]|(tuple with \d+ elements))")
VALUE = re.compile(r"(?:Got|Given) value: (.*)")


class Written(NamedTuple):
    """One option as given."""

    key: str  # dotted name without "init_args", such as "model.learning_rate"
    shown: str  # its location: "--model.learning_rate", or "my.yaml, line 3: model.init_args.learning_rate"
    value: str  # its text, empty for a block of further options


def shipped_configs() -> Path:
    """Return the folder of shipped configs: inside an installed package, beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def read_options(words: list[str]) -> tuple[list[str], list[Written]]:
    """Return the words with each --config as a file path, and all options, including those of configs.

    Raises:
        UsageError: a config is neither in the current folder nor shipped, or is not a mapping of options.
    """
    resolved, options = list(words), []
    for index, word in enumerate(words):
        if not word.startswith("-"):
            continue
        option, equals, value = word.partition("=")
        following = "".join(words[index + 1 : index + 2])
        value = value if equals or following.startswith("--") else following
        if option not in CONFIG_OPTIONS:
            options.append(Written(plain_key(option.lstrip("-")), option.rstrip("+"), value))
        elif value and not is_inline(value):
            path = _find_config(value)
            resolved[index if equals else index + 1] = f"{option}={path}" if equals else str(path)
            try:
                options.extend(_options_below(_read_config(path), path))
            except RecursionError:  # by an alias
                raise UsageError(f"{path}: a value contains itself") from None
    return resolved, options


def null_groups(words: list[str]) -> list[str]:
    """Return the words with each null in a group of the model as JSON, such as --model.text={"model": null}.

    jsonargparse 4.53 reads --model.text.model=null as the text "None".
    """
    joined: list[str] = []
    for word in words:
        if word == "null" and joined and NULL_OF_A_GROUP.fullmatch(f"{joined[-1]}=null"):
            joined[-1] += "=null"
        else:
            joined.append(word)
    return [NULL_OF_A_GROUP.sub(r'\1={"\2": null}', word) for word in joined]


def nulls(kind: type, values: Any) -> Iterator[tuple[str, str]]:
    """Yield the options of a group that are None though their type is not, which jsonargparse lets pass.

    Args:
        kind: dataclass of the group.
        values: the group as that dataclass, a namespace or a mapping.

    Yields:
        name of the option, dotted below the group, and its type.
    """
    given = values if isinstance(values, Mapping) else vars(values)
    for name, hint in get_type_hints(kind).items():
        value = given.get(name, MISSING)
        if value is None and type(None) not in get_args(hint):
            yield name, getattr(get_origin(hint) or hint, "__name__", str(hint))
        for part in value if isinstance(value, list) else [value]:
            if is_dataclass(part) and not isinstance(part, type):
                yield from ((f"{name}.{below}", expected) for below, expected in nulls(type(part), part))


def plain_key(key: str) -> str:
    """Return a dotted option name without "init_args" and without the "+" that appends."""
    return ".".join(part.rstrip("+") for part in key.split(".") if part != "init_args")


def is_checkpoint_word(name: str) -> bool:
    """Return whether Lightning takes a word instead of a path of a checkpoint, such as "last"."""
    return name.partition(":")[0] in ("best", "last", "hpc", "registry")


def snake_case(name: str) -> str:
    """Convert LinearProbe to linear_probe and IGCL to igcl."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name).lower()


def explain(
    message: str,
    written: list[Written],
    known: Collection[str],
    classes: Collection[str],
    elsewhere: Mapping[str, Collection[str]],
) -> str:
    """Turn a parser's message into one line with the option, its location, and a suggestion.

    Args:
        message: message of the parser, over any number of lines.
        written: the options that were given.
        known: names of the options that exist, as `plain_key` writes them.
        classes: names of the classes that a class path may give without their module.
        elsewhere: names of the classes that have an option which the chosen class lacks, by option as in `known`.
    """
    if match := NO_VALUE.match(message):  # the message names --model if --model.width has no value
        empty = (option.shown for option in written if not option.value and option.shown.startswith(match[1]))
        return f"{next(empty, match[1])}: {match[2]}"
    unknown = UNKNOWN.search(message)
    named = unknown or KEY.search(message)
    option = _find_written(named[1], message, written) if named else None
    shown = f"{option.shown}: " if option else ""
    if unknown and option:
        return unknown_option(option, known, elsewhere)
    return shown + _wrong_value(message, classes)


def unknown_option(option: Written, known: Collection[str], elsewhere: Mapping[str, Collection[str]]) -> str:
    """Return the line for an option that does not exist; `known` and `elsewhere` as in `explain`."""
    if having := elsewhere.get(option.key):
        return f"{option.shown}: only {' and '.join(having)} {'has' if len(having) == 1 else 'have'} this option"
    return f"{option.shown}: unknown option{_nearest(option, known)}"


def _nearest(option: Written, known: Collection[str]) -> str:
    """Return a suggestion; names of one part, such as "model", are compared without it, which all of them share."""
    dashes = "--" if option.shown.startswith("-") else ""
    part = option.key[: option.key.find(".") + 1]
    within = [name for name in known if name.startswith(part)] if part else []
    cut = len(part) if within else 0
    near = suggestion(option.key[cut:], [name[cut:] for name in within or known], before=dashes + option.key[:cut])
    return near or suggestion(part[:-1], [] if within else {name.partition(".")[0] for name in known}, before=dashes)


def _find_written(name: str, message: str, written: list[Written]) -> Written | None:
    """Return the option of that name: one whose value the message quotes, otherwise the last."""
    options = [option for option in reversed(written) if f".{option.key}".endswith(f".{plain_key(name)}")]
    return max(options, key=lambda option: bool(option.value) and option.value in message, default=None)


def _wrong_value(message: str, classes: Collection[str]) -> str:
    if "Unable to load config" in message:
        return NOT_A_GROUP
    if match := NO_CLASS.search(message):
        return f"no class is called {match[1]!r}{suggestion(match[1], classes)}"
    if match := REASON.search(message):
        return one_line(match[1])
    types, value = TYPE.findall(message), VALUE.search(message)
    if types and value:
        accepted = " or ".join("".join(found) for found in types).replace("NoneType", "null")
        return f"expected {accepted}, got {value[1]!r}"
    return KEY.sub("", message.strip().splitlines()[-1].lstrip(" -"))


def is_inline(config: str) -> bool:
    """Return whether a config is given as YAML text or URL, not as a file."""
    return config.startswith("{") or "\n" in config or "://" in config


def _find_config(name: str) -> Path:
    shipped = shipped_configs()
    short = name.removeprefix("configs/")
    for path in (Path(name), shipped / name, shipped / short):
        if path.is_file():
            return path
    known = [path.relative_to(shipped).as_posix() for path in shipped.rglob("*.yaml")]
    known += [path.as_posix() for path in Path(name).parent.glob("*.yaml")]
    raise UsageError(f"--config {name}: no such file or shipped config{suggestion(short, known)}")


def _read_config(path: Path) -> yaml.MappingNode:
    try:
        tree = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:  # characters that no text has
        raise UsageError(f"{path}: not valid YAML: {one_line(error)}") from None
    if not isinstance(tree, yaml.MappingNode):
        raise UsageError(f"{path}: a config must be a mapping of options such as 'trainer:'")
    return tree


def _options_below(node: yaml.Node, path: Path, prefix: str = "") -> Iterator[Written]:
    """Yield every option at or below `node`; list items and init_args are not options themselves.

    Raises:
        UsageError: an option is there twice, of which a reader of YAML takes the last.
    """
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if name in seen:
                raise UsageError(f"{path}, line {key.start_mark.line + 1}: {name} is given twice")
            seen.add(name)
            if key.value != "init_args":
                text = value.value if isinstance(value, yaml.ScalarNode) else ""
                yield Written(plain_key(name), f"{path}, line {key.start_mark.line + 1}: {name}", text)
            yield from _options_below(value, path, f"{name}.")
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _options_below(item, path, prefix)
