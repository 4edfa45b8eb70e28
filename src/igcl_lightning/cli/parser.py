"""The parser of the commands that need no Lightning."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from igcl_lightning.errors import UsageError, suggestion


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
