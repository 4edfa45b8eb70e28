"""Argument parser and shared argument types of the commands that do not need Lightning."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from igcl_lightning.errors import UsageError, suggestion
from igcl_lightning.texts import comma_separated

LARGEST_SEED = 2**32 - 1  # of NumPy


class OneLineParser(argparse.ArgumentParser):
    """An `argparse` parser that raises `UsageError` for a mistake instead of printing a page, and never abbreviates."""

    passed_on: tuple[str, ...] = ()
    """Prefixes of options for another parser; these options and their values become `options.passed_on`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Report unknown options before parsing: argparse would report a missing option instead of the misspelt one."""
        words = list(sys.argv[1:] if args is None else args)
        own = itertools.takewhile(lambda word: word.startswith("-"), words) if self._subparsers else words
        for option in (word.partition("=")[0] for word in own if word.startswith("--")):
            if option not in self._option_string_actions and not option.startswith(self.passed_on):
                self.error(f"{option}: unknown option{suggestion(option, self._option_string_actions)}")
        if words and not words[0].startswith("-") and not self._get_positional_actions():
            needed = ", ".join(action.option_strings[-1] for action in self._actions if action.required)
            self.error(f"{words[0]}: belongs to no option{f'; needed are {needed}' if needed else ''}")
        options, rest = super().parse_known_args(words, namespace)
        if self.passed_on:
            options.passed_on, rest = rest, []
        return options, rest

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the name of the command."""
        if match := re.search(r"(--[\w-]+: )?invalid choice: '(.+?)' \(choose from (.+)\)", message):
            choices = re.findall(r"[\w-]+", match[3])
            near = suggestion(match[2], choices)
            message = f"{match[1] or ''}unknown choice {match[2]!r}{near} ({', '.join(choices)})"
        command = self.prog.partition(" ")[2]
        raise UsageError(f"{command}: {message}" if command else message)


def names(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of names; one with a comma stands in double quotes."""
    return tuple(filter(None, comma_separated(text)))


def add_run_options(parser: argparse.ArgumentParser, folder: str) -> None:
    """Add --out, --fast and --seed for commands that pretrain; `folder` is the default of --out."""
    text = "seed of pretraining (default: that of igcl fit); images, labelled rows and baselines do not depend on it"
    out = f"folder to write (default: {folder})"
    parser.add_argument("--out", type=Path, default=Path(folder), metavar="DIR", help=out)
    fast = (
        "small, fast run of every step: few images, epochs, seeds and labelled shares; its numbers are not meaningful"
    )
    parser.add_argument("--fast", action="store_true", help=fast)
    parser.add_argument("--seed", type=seed, metavar="N", help=text)


def seed(word: str) -> int:
    """Read a seed."""
    if not word.isdecimal() or int(word) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number from 0 to {LARGEST_SEED}")
    return int(word)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
