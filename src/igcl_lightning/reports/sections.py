"""Sections of a report: the text under each header, and the sections that are parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping

SECTION_CHOICES: dict[str, tuple[str, ...]] = {
    "both": ("findings", "impression"),
    "findings": ("findings",),
    "impression": ("impression",),
}
"""Sections of each choice, in order."""

COMBINED = "findings and impression"
"""Section that is part of every choice."""

HEADERS: dict[str, tuple[str, ...]] = {
    "findings": ("findings", "finding"),
    COMBINED: ("findings and impression", "findings/impression"),
    "impression": ("impression", "impressions", "conclusion", "conclusions"),
    "indication": (
        "indication",
        "indications",
        "clinical indication",
        "reason for exam",
        "reason for examination",
        "reason for study",
    ),
    "history": ("history", "clinical history", "clinical information"),
    "technique": ("technique", "procedure"),
    "comparison": ("comparison", "comparisons"),
    "examination": ("exam", "examination", "study", "type of examination"),
    "recommendation": ("recommendation", "recommendations", "recommendation(s)"),
    "notification": ("notification", "notifications"),
    "addendum": ("addendum",),
    "wet read": ("wet read",),
    "final report": ("final report",),
}
"""Headers of each section. Subheadings such as "LUNGS:" are not headers."""

_NAME = {header: name for name, headers in HEADERS.items() for header in headers}
_WORDS = "|".join(re.escape(header).replace(r"\ ", r"[ \t]+") for header in sorted(_NAME, key=len, reverse=True))
# "FINAL REPORT" ends a preliminary read and has no colon in hospital files.
_HEADER = re.compile(
    rf"(?:^[ \t]*|(?<=[.?!])[ \t]*)(?=[A-Z])(?:(?P<header>(?i:{_WORDS}))[ \t]*:|(?P<title>FINAL REPORT)[ \t\r]*$)",
    re.MULTILINE,
)


def split_sections(text: str) -> dict[str, str]:
    r"""Return the sections of a report by name, in the order of the text.

    A header is one of `HEADERS` with a capital first letter, before a colon, at the start of a line or after a
    sentence. Sections of one name are joined by a blank line, empty ones are left out. Text before the first header
    has the name "".

    Example:
        >>> split_sections("INDICATION: Cough. FINDINGS: Clear lungs.\nIMPRESSION: Normal.")
        {'indication': 'Cough.', 'findings': 'Clear lungs.', 'impression': 'Normal.'}
    """
    sections: dict[str, list[str]] = {}
    name, start = "", 0
    for match in _HEADER.finditer(text):
        sections.setdefault(name, []).append(text[start : match.start()].strip())
        header = match["header"] or match["title"]
        name, start = _NAME[" ".join(header.lower().split())], match.end()
    sections.setdefault(name, []).append(text[start:].strip())
    joined = {name: "\n\n".join(filter(None, parts)) for name, parts in sections.items()}
    return {name: part for name, part in joined.items() if part}


def choose_sections(sections: Mapping[str, str], choice: str = "both") -> str | None:
    """Return the text of the chosen sections, joined by a blank line; None without findings and impression.

    Args:
        sections: text by name.
        choice: one of `SECTION_CHOICES`.
    """
    parts = {name: sections.get(name, "").strip() for name in ("findings", COMBINED, "impression")}
    if not any(parts.values()):
        return None
    wanted = (COMBINED, *SECTION_CHOICES[choice])
    return "\n\n".join(part for name, part in parts.items() if part and name in wanted)


def choose_text(text: str, choice: str = "both") -> str:
    """Return the text of the chosen sections of a report, or all of it without findings and impression."""
    chosen = choose_sections(split_sections(text), choice) if ":" in text else None
    return text if chosen is None else chosen
