"""The sections of a report: which text stands under which header, and which of it is parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping

SECTION_CHOICES: dict[str, tuple[str, ...]] = {
    "both": ("findings", "impression"),
    "findings": ("findings",),
    "impression": ("impression",),
}
"""What may be parsed: the sections of each choice, in their order."""

COMBINED = "findings and impression"
"""The section that belongs to every choice."""

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
"""Name of each section, and the headers that open it. What is no section of its own, such as "LUNGS:", is no header."""

_NAME = {header: name for name, headers in HEADERS.items() for header in headers}
_WORDS = "|".join(re.escape(header).replace(r"\ ", r"[ \t]+") for header in sorted(_NAME, key=len, reverse=True))
# "FINAL REPORT" closes a wet read and has no colon in the hospitals' files.
_HEADER = re.compile(
    rf"(?:^[ \t]*|(?<=[.?!])[ \t]*)(?=[A-Z])(?:(?P<header>(?i:{_WORDS}))[ \t]*:|(?P<title>FINAL REPORT)[ \t\r]*$)",
    re.MULTILINE,
)


def split_sections(text: str) -> dict[str, str]:
    r"""Return the sections of a report by name, in the order of the text.

    A header is one of `HEADERS`, in capitals or with a capital first letter, before a colon, at the start of a line or
    after the end of a sentence. Sections of one name are joined by a blank line.

    Args:
        text: of a whole report.

    Returns:
        The text of each section that has any; what no header precedes stands under "".

    Example:
        >>> split_sections("INDICATION: Cough. FINDINGS: Clear lungs.\nIMPRESSION: Normal.")
        {'indication': 'Cough.', 'findings': 'Clear lungs.', 'impression': 'Normal.'}
    """
    sections: dict[str, list[str]] = {}
    name, start = "", 0
    for match in _HEADER.finditer(text):
        sections.setdefault(name, []).append(text[start : match.start()].strip())
        name, start = _name(match["header"] or match["title"]), match.end()
    sections.setdefault(name, []).append(text[start:].strip())
    joined = {name: "\n\n".join(filter(None, parts)) for name, parts in sections.items()}
    return {name: part for name, part in joined.items() if part}


def choose_sections(sections: Mapping[str, str], choice: str = "both") -> str | None:
    """Return the text of the chosen sections, joined by a blank line.

    Args:
        sections: text by name.
        choice: one of `SECTION_CHOICES`.

    Returns:
        The text, "" where only the other section has any; None where there are neither findings nor impression.
    """
    parts = {name: sections.get(name, "").strip() for name in ("findings", COMBINED, "impression")}
    if not any(parts.values()):
        return None
    wanted = (COMBINED, *SECTION_CHOICES[choice])
    return "\n\n".join(part for name, part in parts.items() if part and name in wanted)


def choose_text(text: str, choice: str = "both") -> str:
    """Return the text of the chosen sections of a report, or all of it where it has neither findings nor impression."""
    chosen = choose_sections(split_sections(text), choice) if ":" in text else None
    return text if chosen is None else chosen


def _name(header: str) -> str:
    return _NAME[" ".join(header.lower().split())]
