"""One table from the words of all data sets for a projection to the views of a store."""

from __future__ import annotations

import re

VIEW_OF = {
    **dict.fromkeys(("pa", "postero anterior", "posteroanterior"), "PA"),
    **dict.fromkeys(("ap", "antero posterior", "anteroposterior"), "AP"),
    "frontal": "frontal",
    **dict.fromkeys(("lateral", "left lateral", "right lateral", "xtable lateral", "l", "ll", "rl"), "lateral"),
}
"""Views by the words that name them, in small letters. A decubitus view is neither: the patient lies on the side."""

_POSTURE = re.compile(r" (?:erect|semi ?erect|upright|sitting|supine|horizontal|portable)$")
"""What may follow PA and AP without another view: how the patient was placed, and with which machine."""


def view_name(value: str | None) -> str:
    """Return the store's name (`VIEWS`) of a projection; "unknown" for what is blank or not in the table."""
    words = " ".join(re.split(r"[\s_-]+", (value or "").strip().lower()))
    return VIEW_OF.get(_POSTURE.sub("", words), "unknown")
