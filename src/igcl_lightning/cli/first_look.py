"""The first look at a training command, before the libraries are imported, which takes seconds.

It refuses what it can: options that do not exist, a store or a checkpoint that is not there. What it cannot judge, such
as the options of classes outside this package, it leaves to `training.lightning_cli`, which checks everything.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from igcl_lightning.cli.option_source import PACKAGE, arguments, class_names
from igcl_lightning.cli.training_help import HELP, WHOLE, training_help
from igcl_lightning.closing import is_quiet
from igcl_lightning.data.store_path import is_address, read_manifest
from igcl_lightning.errors import IgclError, UsageError, suggestion, write_message
from igcl_lightning.reports.files import near_path
from igcl_lightning.training.latest import LATEST, find_latest
from igcl_lightning.training.options import (
    CONFIG_OPTIONS,
    Written,
    is_checkpoint_word,
    is_inline,
    plain_key,
    read_options,
    snake_case,
    unknown_option,
)

PARTS = ("model", "data")
GENERAL = ("config", "print_config", "import", "seed_everything", "ckpt_path", "verbose", "return_predictions")
"""Options of a training command that are not of model, data or trainer."""

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Variables that number the processes of a run."""

CHECKPOINTS = ("ckpt_path", "model.checkpoint")
"""Options whose value may be `latest` or end in it."""


def first_look(words: Sequence[str]) -> list[str]:
    """Check a training command, say in a line what it is about to do, and return its words, each `latest` as a path.

    If the words ask for help that needs no libraries, it is printed, and no words are returned.

    Raises:
        UsageError: no model is named, or a config or an option does not exist.
        IgclError: the store or a checkpoint does not exist.
    """
    command, *_ = words
    _, written = read_options(list(words))
    chosen = {part: [*_classes(part, written)] for part in PARTS}
    text = training_help(words, {part: names[-1] for part, names in chosen.items() if names})
    sys.stdout.write(text)
    if text:
        return []
    if WHOLE in words or any(option.key.endswith(".help") for option in written):
        return [HELP[-1] if word == WHOLE else word for word in words]
    if any(is_inline(name) for name in _configs(words)):  # as text or at a URL, which is not read here
        return list(words)
    _refuse_unknown_options(written, chosen)
    if not chosen["model"]:
        raise UsageError(
            f"{command} needs a --config that names a model, such as --config pretrain/igcl.yaml; `igcl {command} "
            "--help` lists those that come with this program"
        )
    if any(option.key == "print_config" for option in written):
        return list(words)
    _warn_of_later_configs(written)
    found = _checkpoints(command, written, chosen["model"][-1])
    store = _last("data.store", written)
    try:
        rows = _rows(store) if store and not is_address(store) else ""
    except IgclError as error:
        places = [option.shown for option in written if option.key == "data.store"]
        if places[-1].startswith("--"):
            raise
        raise IgclError(f"{error}; {places[-1]} names it, --data.store chooses another") from None
    if not is_quiet() and all(os.environ.get(name, "0") == "0" for name in RANKS):
        sys.stderr.write(f"igcl {command}: {chosen['model'][-1]}{f' on {store}' if store else ''}{rows} ...\n")
    return _replaced(words, found)


def _configs(words: Sequence[str]) -> Iterator[str]:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option in CONFIG_OPTIONS:
            yield value if equals else following


def _replaced(words: Sequence[str], found: Mapping[str, str]) -> list[str]:
    """Return the words with new values of some options; those of a config are overridden."""
    changed, written = list(words), set()
    for index, word in enumerate(words):
        option, equals, _ = word.partition("=")
        key = plain_key(option.removeprefix("--"))
        if option.startswith("--") and key in found:
            written.add(key)
            if equals:
                changed[index] = f"{option}={found[key]}"
            else:
                changed[index + 1] = found[key]
    return [*changed, *(f"--{key}={path}" for key, path in found.items() if key not in written)]


def _classes(part: str, written: Sequence[Written]) -> Iterator[str]:
    """Yield the names of the classes that are chosen for a part, the last of which counts."""
    for option in written:
        if option.key in (part, f"{part}.class_path") and option.value:
            yield _short(option.value)


def _short(name: str) -> str:
    """Return the name of a class of this package without its module."""
    return name.rpartition(".")[2] if name.startswith(f"{PACKAGE}.") else name


def _last(key: str, written: Sequence[Written]) -> str:
    value = next((option.value for option in reversed(written) if option.key == key), "")
    return "" if value == "null" else value


def _refuse_unknown_options(written: Sequence[Written], chosen: Mapping[str, Sequence[str]]) -> None:
    """Raise `UsageError` for an option that no class has which is chosen for its part, unless one is not known here."""
    if any(name not in class_names(part) for part in PARTS for name in chosen[part]):
        return
    trainer = [f"trainer.{each.name}" for each in arguments("trainer", "")]
    options = {part: {name: _options(part, name) for name in class_names(part)} for part in PARTS}
    own = [key for part in PARTS for name in chosen[part][-1:] or class_names(part) for key in options[part][name]]
    known = {*own, *GENERAL, *PARTS, "trainer", *trainer}
    elsewhere: dict[str, list[str]] = {}
    for part in PARTS:
        for name in sorted(options[part]):
            for key in options[part][name]:
                elsewhere.setdefault(key, []).append(name)
    earlier: dict[str, list[str]] = {}
    for option in written:
        part = option.key.partition(".")[0]
        if option.key in (part, f"{part}.class_path") and part in PARTS and option.value:
            earlier[part] = options[part][_short(option.value)]
        if any(other.key.startswith(f"{option.key}.") for other in written):
            continue  # a block; what is wrong in it is named
        # A later class drops the options of an earlier one, with which they were right.
        if not _stands(option.key, known.union(earlier.get(part, ()))):
            raise UsageError(unknown_option(option, known, elsewhere))


def _warn_of_later_configs(written: Sequence[Written]) -> None:
    """Warn of options of the command line that a config behind them changes."""
    for index, option in enumerate(written):
        later = [each for each in written[index + 1 :] if each.key == option.key]
        on_line = option.shown.startswith("--")
        if (
            on_line
            and option.value
            and later
            and not later[-1].shown.startswith("--")
            and later[-1].value != option.value
        ):
            later_value = f"{later[-1].shown} {later[-1].value}"
            write_message("warning", f"{option.shown} {option.value}: {later_value} comes later and wins")


def _options(part: str, name: str) -> list[str]:
    return [f"{part}.{each.name}" for each in arguments(part, name)]


def _stands(key: str, known: set[str]) -> bool:
    """Return whether an option is known, is a group of known ones, or is below one, as part of its value."""
    part, _, below = key.partition(".")
    if below.partition(".")[0] in ("class_path", "dict_kwargs") and part in PARTS:
        return True
    above = (key.rsplit(".", count)[0] for count in range(key.count(".")))
    return any(name in known for name in above) or key in known or any(name.startswith(f"{key}.") for name in known)


def _checkpoints(command: str, written: Sequence[Written], model: str) -> dict[str, str]:
    """Return the paths of checkpoints given as `latest`, by option; `IgclError` if one does not exist."""
    runs = Path(_last("trainer.logger.save_dir", written) or "runs")
    runs /= _last("trainer.logger.name", written) or snake_case(model.rpartition(".")[2])
    found = {}
    for key in CHECKPOINTS:
        given = _last(key, written)
        if (key, given) == ("model.checkpoint", LATEST):
            raise UsageError("--model.checkpoint latest: of which model? Name the runs, such as runs/igcl/latest")
        path = find_latest(given, runs, resume=key == "ckpt_path" and command == "fit") if given else ""
        if path != given:
            found[key] = path
        if path and not (is_checkpoint_word(path) or "://" in path or os.path.exists(path)):
            raise IgclError(f"{path}: no such checkpoint{suggestion(path, [LATEST]) or near_path(Path(path))}")
    return found


def _rows(store: str) -> str:
    """Return the numbers of rows of a store, nothing if its manifest does not say; `IgclError` if there is no store."""
    try:
        rows = json.loads(read_manifest(Path(store)))["rows"]
        return f" ({', '.join(f'{count:,} {split}' for split, count in rows.items())} rows)"
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged: who reads it says how
        return ""
