"""One table from the words of all data sets for a projection to the views of a store."""

from __future__ import annotations

VIEW_OF = {
    **dict.fromkeys(("pa", "postero-anterior", "posteroanterior"), "PA"),
    **dict.fromkeys(("ap", "antero-posterior", "anteroposterior", "ap supine", "ap_supine", "ap erect"), "AP"),
    **dict.fromkeys(("ap horizontal", "ap_horizontal"), "AP"),
    "frontal": "frontal",
    **dict.fromkeys(("lateral", "left lateral", "right lateral", "xtable lateral", "l", "ll", "rl"), "lateral"),
}
"""Views by the words that name them, in small letters. A decubitus view is neither: the patient lies on the side."""


def view_name(value: str | None) -> str:
    """Return the store's name (`VIEWS`) of a projection; "unknown" for what is blank or not in the table."""
    return VIEW_OF.get((value or "").strip().lower(), "unknown")
