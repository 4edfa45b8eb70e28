"""Age and sex as data sets and DICOM headers write them."""

from __future__ import annotations

import re

OLDEST = 120
"""Highest plausible age in years."""

_AGE = re.compile(r"(\d+(?:\.\d*)?)([YMWD]?)")
_PER_YEAR = {"Y": 1.0, "": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


def age_in_years(text: str | None) -> float | None:
    """Return an age in years from "58", "58.0", or a DICOM age such as "058Y", "013M", "002W" or "003D".

    Returns:
        None for a blank text, a text that is no age, and an age above `OLDEST`.
    """
    match = _AGE.fullmatch((text or "").strip().upper())
    if match is None:
        return None
    years = float(match[1]) / _PER_YEAR[match[2]]
    return years if years <= OLDEST else None


def sex_name(word: str | None) -> str | None:
    """Return "F" or "M" by the first letter, None for any other word."""
    first = (word or "")[:1].upper()
    return first if first in ("F", "M") else None
