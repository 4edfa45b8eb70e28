"""Age, sex and view from the terms of data sets and DICOM headers."""

from __future__ import annotations

import re

OLDEST = 120
"""Highest plausible age in years."""

_AGE = re.compile(r"(\d+(?:\.\d*)?)([YMWD]?)")
_PER_YEAR = {"Y": 1.0, "": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


def age_in_years(text: str | None) -> float | None:
    """Return an age in years from "58", "58.0" or a DICOM age such as "058Y", "013M", "002W" or "003D", else None.

    An age above `OLDEST` is None too.
    """
    match = _AGE.fullmatch((text or "").strip().upper().replace(",", "."))
    if match is None:
        return None
    years = float(match[1]) / _PER_YEAR[match[2]]
    return years if years <= OLDEST else None


def sex_name(word: str | None) -> str | None:
    """Return "F" or "M" for a letter or a usual word in any case, None for any other."""
    return _SEX_OF.get((word or "").strip().lower())


_SEX_OF = {
    **dict.fromkeys(("f", "female", "woman", "w", "weiblich", "frau", "femme", "femenino", "mujer"), "F"),
    **dict.fromkeys(("m", "male", "man", "m\u00e4nnlich", "mann", "homme", "hombre", "masculino"), "M"),
}


_VIEW_OF = {
    **dict.fromkeys(("pa", "p a", "postero anterior", "posteroanterior"), "PA"),
    **dict.fromkeys(("ap", "a p", "antero posterior", "anteroposterior"), "AP"),
    **dict.fromkeys(("frontal", "pa/ap", "ap/pa"), "frontal"),
    **dict.fromkeys(("lateral", "left lateral", "right lateral", "xtable lateral", "l", "ll", "rl"), "lateral"),
    **dict.fromkeys(("lat", "left lat", "right lat"), "lateral"),
}
"""View by lower-case word. Decubitus views are left out: they are frontal images of a patient lying on the side."""

_POSTURE = re.compile(r" (?:view|erect|semi ?erect|upright|sitting|supine|horizontal|portable)$")
"""Posture, machine or "view" that may follow a view without changing the view."""


def view_name(words: str | None) -> str:
    """Return the view (`VIEWS`) of a projection, "unknown" if it is blank or not in the table."""
    normalised = " ".join(re.split(r"[\s_.()-]+", (words or "").lower())).strip().removeprefix("chest ")
    return _VIEW_OF.get(_POSTURE.sub("", normalised), "unknown")
