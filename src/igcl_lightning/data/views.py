"""Views of a store by the words that data sets use for a projection."""

from __future__ import annotations

import re

_VIEW_OF = {
    **dict.fromkeys(("pa", "postero anterior", "posteroanterior"), "PA"),
    **dict.fromkeys(("ap", "antero posterior", "anteroposterior"), "AP"),
    "frontal": "frontal",
    **dict.fromkeys(("lateral", "left lateral", "right lateral", "xtable lateral", "l", "ll", "rl"), "lateral"),
}
"""View by lower-case word. Decubitus views are left out: they are frontal images of a patient lying on the side."""

_POSTURE = re.compile(r" (?:erect|semi ?erect|upright|sitting|supine|horizontal|portable)$")
"""Posture or machine, which may follow PA and AP without changing the view."""


def view_name(words: str | None) -> str:
    """Return the view (`VIEWS`) of a projection, "unknown" if it is blank or not in the table."""
    normalised = " ".join(re.split(r"[\s_-]+", (words or "").strip().lower()))
    return _VIEW_OF.get(_POSTURE.sub("", normalised), "unknown")
