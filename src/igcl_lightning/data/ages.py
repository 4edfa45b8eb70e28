"""Ages as data sets and DICOM headers write them."""

from __future__ import annotations

import re

OLDEST = 120
"""In years; what is more is a mistake."""

_AGE = re.compile(r"(\d+(?:\.\d*)?)([YMWD]?)")
_PER_YEAR = {"Y": 1.0, "": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


def age_in_years(text: str | None) -> float | None:
    """Return an age in years: "58", "58.0", or with a unit as in DICOM, "058Y", "013M", "002W", "003D".

    Returns:
        None where the text is blank, no age, or above `OLDEST`.
    """
    match = _AGE.fullmatch((text or "").strip().upper())
    if match is None:
        return None
    years = float(match[1]) / _PER_YEAR[match[2]]
    return years if years <= OLDEST else None
