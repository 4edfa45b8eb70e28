"""Texts of tables and options: blank cells, ids and lists of names; one rule wherever they are read and joined."""

from __future__ import annotations

import csv
import re

BLANK_WORDS = frozenset(("", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "none"))
"""Lower-case texts that stand for no value: missing values as libraries and spreadsheets write them."""

BLANK_IDS = BLANK_WORDS | {"-", "--", "?"}
"""Lower-case texts that are no id."""

_FLOAT = re.compile(r"(\d+)[.,]0+")
_FORMULA = re.compile(r'="([^"]*)"')
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+")


def encodable(text: str) -> str:
    """Return a text that UTF-8 can encode: JSON may escape half a surrogate pair, which becomes "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def is_blank(text: str) -> bool:
    """Return whether a text stands for no value."""
    return text.strip().lower() in BLANK_WORDS


def plain_id(text: str | None) -> str | None:
    """Return an id as it was before a library read it as a number ("12.0" is "12"); None if it is blank.

    A column of whole numbers with a gap becomes one of floats in pandas and in spreadsheets; '="0012"' keeps a
    spreadsheet from reading 0012 as a number.
    """
    name = (text or "").strip()
    if formula := _FORMULA.fullmatch(name):
        name = formula[1].strip()
    if name.lower() in BLANK_IDS:
        return None
    number = _FLOAT.fullmatch(name)
    return number[1] if number else name


def is_shortened(text: str | None) -> bool:
    """Return whether an id has lost digits in a spreadsheet or library, such as "1.23457E+11"."""
    return _SHORTENED.fullmatch((text or "").strip()) is not None


def comma_separated(text: str) -> list[str]:
    """Return the stripped parts of a list; a part with a comma stands in double quotes."""
    parts = next(csv.reader([text], skipinitialspace=True), [])
    return [part.strip() for part in parts]
