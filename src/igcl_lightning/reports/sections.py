"""Sections of a report: the text under each header, and the sections that are parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.lexicon import rows
from igcl_lightning.graphs.plain_text import plain_text
from igcl_lightning.reports.files import reason

SECTION_CHOICES: dict[str, tuple[str, ...]] = {
    "both": ("findings", "impression"),
    "findings": ("findings",),
    "impression": ("impression",),
}
"""Sections of each choice, in order."""

COMBINED = "findings and impression"
ADDENDUM = "addendum"
ALWAYS = (COMBINED, ADDENDUM)
"""Sections that are part of every choice."""

TITLE = "final report"
_BODIES = ("findings", COMBINED)

HEADERS: dict[str, tuple[str, ...]] = {
    "findings": (
        "findings",
        "finding",
        "find",
        "description",
        "body of report",
        "report text",
        "report body",
        "narrative",
        "cxr",
        "observations",
        "radiological findings",
        "radiographic findings",
        "radiology findings",
        "imaging findings",
        "chest findings",
        "chest x-ray findings",
        "cxr findings",
    ),
    COMBINED: (
        "findings and impression",
        "findings/impression",
        "findings & impression",
        "report",
        "result",
        "results",
    ),
    "impression": (
        "impression",
        "impressions",
        "conclusion",
        "conclusions",
        "interpretation",
        "opinion",
        "summary",
        "final impression",
        "radiological diagnosis",
        "radiographic diagnosis",
        "final diagnosis",
        "diagnostic impression",
        "radiological impression",
        "radiographic impression",
        "overall impression",
        "overall interpretation",
        "radiological conclusion",
        "final conclusion",
        "imp",
        "impr",
    ),
    "indication": (
        "indication",
        "indications",
        "clinical indication",
        "clinical question",
        "clinical details",
        "clinical data",
        "clinical problem",
        "presenting complaint",
        "reason for exam",
        "reason for the exam",
        "reason for examination",
        "reason for this examination",
        "reason for study",
        "reason for request",
        "reason for referral",
        "reason for visit",
        "reason",
        "rfe",
        "ind",
        "clinical",
        "clinical notes",
        "clinical note",
        "clinical statement",
        "clinical summary",
        "clinical impression",
        "clinical diagnosis",
        "clinical concern",
        "clinical reason",
        "referring diagnosis",
        "referral diagnosis",
        "admitting diagnosis",
        "admission diagnosis",
        "provisional diagnosis",
        "working diagnosis",
        "known diagnosis",
        "primary diagnosis",
        "symptoms",
        "signs and symptoms",
        "complaint",
        "complaints",
        "chief complaint",
        "request",
        "question",
    ),
    "history": (
        "history",
        "clinical history",
        "medical history",
        "past medical history",
        "patient history",
        "history of present illness",
        "clinical information",
        "clinical info",
        "clinical background",
        "clinical hx",
        "provided history",
        "relevant history",
        "brief history",
        "hx",
        "patient info",
        "patient information",
        "pt. info",
        "pt info",
    ),
    "technique": ("technique", "tech", "procedure"),
    "comparison": (
        "comparison",
        "comp",
        "compared with",
        "prior",
        "prior exams",
        "previous studies",
        "comparisons",
        "prior studies",
        "previous examinations",
    ),
    "examination": ("exam", "examination", "study", "type of examination"),
    "recommendation": ("recommendation", "recommendations", "recommendation(s)"),
    "notification": ("notification", "notifications", "communication"),
    "signature": ("dictated by", "signed by", "electronically signed by", "referring physician"),
    ADDENDUM: ("addendum", "addenda"),
    "wet read": ("wet read", "preliminary report"),
    TITLE: ("final report", "radiology report"),
}
"""Headers of each section. Subheadings such as "LUNGS:" are not headers."""

_OPENING = r"[ \t]*+(?:(?:[\[<({]{1,2}|[*#=_~-]{1,10})[ \t]*+)?"
_CLOSING = r"[ \t]*+(?:[\])>}]{1,2}[ \t]*:?|[*=_~-]{2,10}[ \t]*:?|:\*{0,3})"
_DASH = r"[ \t]++[-\u2013\u2014](?=[ \t])"
_FIELD = re.compile(r"^[ \t]*+[^\W\d_][\w /&-]{0,40}:", re.MULTILINE)
_CAPITAL = r"(?=[^\W\d_a-z])"
_BODY = "Findings|Impression|Conclusion"  # headers that need no capitals in the middle of a line


@lru_cache(8)
def _pattern(own: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the expression that finds headers, and the section of each."""
    names = {header: name for name, headers in HEADERS.items() for header in headers} | dict(own)
    ordered = sorted(names, key=len, reverse=True)
    words = "|".join(re.escape(header).replace(r"\ ", r"[ \t]++") for header in ordered)
    capitals = words.upper().replace(r"[ \T]", r"[ \t]")
    found = (
        rf"(?:^{_OPENING}|(?<=[.?!])[ \t]*+[\[*]{{0,3}}){_CAPITAL}(?P<header>(?i:{words}))(?:{_CLOSING}|{_DASH})"
        rf"|^{_OPENING}{_CAPITAL}(?P<title>(?i:{words}))[ \t\r*=_#~-]*+$"
        rf"|(?:^[ \t]*+|(?<=[.?!])[ \t]++)(?P<capitals>{capitals})(?=[ \t]++[A-Z0-9_][a-z_ ])"
        rf"|(?<=\w)[ \t]++(?P<inner>{capitals})[ \t]*+:(?=[ \t]*+(?:[A-Z0-9_]|\r?$))"
        rf"|(?<=\S)[ \t]++[\[{{](?P<boxed>(?i:{words}))[ \t]*+(?:[\]}}]:?|:)"
        rf"|(?<=\w)[ \t]++(?P<inside>{_BODY})[ \t]*+:(?=[ \t]*+(?:\w|\r?$))"
    )
    return re.compile(found, re.MULTILINE), names


def split_sections(text: str, own: Mapping[str, str] | None = None) -> dict[str, str]:
    r"""Return the sections of a report by name, in the order of the text.

    A header is one of `HEADERS` with a capital first letter, at the start of a line or after a sentence. A colon, a
    dash or brackets mark it, or it stands alone on its line, or all in capitals before a sentence. Sections of one name
    are joined by a blank line, empty ones are left out. Text before the first header has the name "".

    Args:
        text: a report without markup (`plain_text`).
        own: name of the section by header, in addition to `HEADERS` (see `read_headers`).

    Example:
        >>> split_sections("INDICATION: Cough. FINDINGS: Clear lungs.\nIMPRESSION: Normal.")
        {'indication': 'Cough.', 'findings': 'Clear lungs.', 'impression': 'Normal.'}
    """
    sections: dict[str, list[str]] = {}
    for name, part in _parts(text, own or {}):
        sections.setdefault(name, []).append(part)
    joined = {name: "\n\n".join(filter(None, parts)) for name, parts in sections.items()}
    return {name: part for name, part in joined.items() if part}


def _parts(text: str, own: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each section, in the order of the text."""
    pattern, names = _pattern(tuple(own.items()))
    name, start = "", 0
    for match in pattern.finditer(text):
        yield name, text[start : match.start()].strip()
        header = next(filter(None, match.groups()))
        name, start = names[" ".join(header.lower().split())], match.end()
    yield name, text[start:].strip()


def choose_sections(sections: Mapping[str, str], choice: str = "both") -> str | None:
    """Return the text of the chosen sections, joined by a blank line; None without findings and impression.

    Args:
        sections: text by name.
        choice: one of `SECTION_CHOICES`.
    """
    order = ("findings", COMBINED, "impression", ADDENDUM)
    parts = {name: sections.get(name, "").strip() for name in order}
    if not any(part for name, part in parts.items() if name != ADDENDUM):
        return None
    wanted = (*ALWAYS, *SECTION_CHOICES[choice])
    return "\n\n".join(part for name, part in parts.items() if part and name in wanted)


def choose_text(text: str, choice: str = "both", own: Mapping[str, str] | None = None) -> str:
    """Return the text of the chosen sections of a report, without markup; see `split_sections` for the arguments.

    Without findings and impression it is what no header precedes, and the paragraphs after the first of each section:
    the indication and the like are left out. If that leaves nothing but a title, it is also what follows the first
    sentence of the last section. With an impression only, what precedes the first header counts as findings, unless it
    has headers of its own ("Asked: ...").
    """
    text = plain_text(text)
    sections = split_sections(text, own)
    before = sections.get("", "")
    if "impression" in sections and sections.keys().isdisjoint(_BODIES) and not _FIELD.search(before):
        sections["findings"] = before
    chosen = choose_sections(sections, choice)
    if chosen is not None:
        return chosen
    return text if sections.keys() <= {""} else _unnamed(list(_parts(text, own or {})))


def _unnamed(parts: list[tuple[str, str]]) -> str:
    """Return the text of a report that belongs to no section but an addendum."""
    final = any(name == TITLE for name, _ in parts)
    bodies = {"", TITLE, ADDENDUM} if final else {"", ADDENDUM, "wet read"}
    kept = [part if name in bodies else "\n\n".join(_paragraphs(part)[1:]) for name, part in parts]
    if not any(kept) or (kept[-1] == "" and not any(_SENTENCE.search(part) for part in kept)):
        kept = [*kept, *re.split(r"(?<=[.?!])\s+|\n", parts[-1][1], maxsplit=1)[1:]]
    return "\n\n".join(filter(None, kept))


_SENTENCE = re.compile(r"[a-z][.!?](?:\s|$)")  # a title has none


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n[ \t\r]*\n", text) if part.strip()]


def read_headers(path: Path) -> dict[str, str]:
    """Return the section of each header in a file: a section of `HEADERS`, a tab, and headers separated by "|".

    Raises:
        IgclError: the file cannot be read or is empty, a line has no known section or no header, or a header has two
            sections.
    """
    found: dict[str, str] = {}
    try:
        for number, (name, headers) in rows(path.stem, path.read_text("utf-8-sig"), 2):
            own = [" ".join(each.lower().split()) for each in headers.split("|") if each.strip()]
            if name.lower() not in HEADERS or not own:
                known = ", ".join(HEADERS)
                raise ValueError(f"line {number}: expected SECTION<tab>HEADER|HEADER with a section of {known}")
            twice = [each for each in own if found.get(each, name.lower()) != name.lower()]
            if twice:
                raise ValueError(f"line {number}: {twice[0]!r} is a header of {found[twice[0]]!r} too, keep one")
            found |= dict.fromkeys(own, name.lower())
    except UnicodeDecodeError as error:
        raise IgclError(f"--headers {path}: not UTF-8, save it as such") from error
    except OSError as error:
        raise IgclError(f"--headers {path}: {reason(error)}") from error
    except ValueError as error:
        raise IgclError(f"--headers {path}: {error}") from error
    if not found:
        raise IgclError(f"--headers {path}: no headers in it; expected lines SECTION<tab>HEADER|HEADER")
    return found
