"""Phrases of reports: data files that a radiologist can edit, `phrases/*.tsv`, one per phrasing.

The header of `phrases/known.tsv` explains columns, kinds of phrases, marks and slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import TypeAlias

from igcl_lightning.graphs.lexicon import rows
from igcl_lightning.phantom.markup import read_template
from igcl_lightning.phantom.pathologies import PATHOLOGIES
from igcl_lightning.phantom.scene import CERTAINTIES, CIRCUMSTANCES, DEVICES, Finding

Phrases: TypeAlias = tuple[str, ...]
"""Templates with the same meaning, from which one is drawn."""

Phrasebook: TypeAlias = Mapping[str, Mapping[str, Phrases]]
"""Phrases by kind and subject."""

PHRASINGS: tuple[str, ...] = ("mixed", "known", "held_back", "reworded")
"""Phrasings of a report: one file each, or "mixed": most reports as in "known", some as in "held_back"."""

SEVERITIES: tuple[str, ...] = ("mild", "moderate", "severe")

WORD_SLOTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("mild", "mildly", "small", "patchy", "linear", "tiny"), SEVERITIES),
    **dict.fromkeys(("hedge", "suggests", "suggest"), CERTAINTIES),
}
"""Kinds of phrases that fill a slot of a noun or statement, with their subjects."""

_CHANGES = ("new", "unchanged", "increased", "decreased")

KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("noun", "statement", "denied"), tuple(PATHOLOGIES)),
    **WORD_SLOTS,
    **dict.fromkeys(("frame", "maybe"), CERTAINTIES),
    "change": (*_CHANGES, "resolved"),
    "change adjective": _CHANGES,
    "device": DEVICES,
    "aside": tuple(CIRCUMSTANCES),
    "technique": ("PA", "PA lateral", "AP"),
    **dict.fromkeys(("denial", "single denial", "clear lungs", "normal heart"), ("",)),
    **dict.fromkeys(("normal impression", "normal chest", "symptom", "prior"), ("",)),
}
"""Subjects of each kind of phrase."""

_FINDING_SLOTS = {
    **{slot: slot for slot in WORD_SLOTS},
    "hedge": "",
    "side": "right",
    "place": "[right:A>lobe] [upper:A>lobe] [lobe:A]",
    "at": "lobe",
}
_FRAME_SLOTS = {"a": "a ", "core": "[effusion:*]", "head": "effusion", "is": "is", "has": "has", "maybe": ""}
_EXAMPLES: dict[str, dict[str, str]] = {
    **dict.fromkeys(("noun", "statement"), _FINDING_SLOTS),
    **dict.fromkeys(("frame", "change"), _FRAME_SLOTS),
    "denial": {"denied": "[effusion:-]"},
    "single denial": {"denied": "[effusion:-]"},
    "device": {"side": "right"},
}
"""Slots that each kind of phrase may have, with an example to check the phrase with."""


@cache
def load_phrasebook(phrasing: str) -> Phrasebook:
    """Return the phrases of `phrasing`, one of `PHRASINGS` except "mixed"; see `read_phrasebook`."""
    text = resources.files(__package__).joinpath("phrases", f"{phrasing}.tsv").read_text("utf-8")
    return read_phrasebook(phrasing, text, {} if phrasing == "known" else load_phrasebook("known"))


def read_phrasebook(name: str, text: str, defaults: Phrasebook) -> Phrasebook:
    """Return the phrases in `text`, the contents of the file `name`; missing kinds are taken from `defaults`.

    Raises:
        ValueError: a line that cannot be used, or a subject without phrases; the message names the file and the line or
            the subject.
    """
    book: dict[str, dict[str, Phrases]] = {}
    for number, (kind, subjects, phrase) in rows(f"phrases/{name}", text, 3):
        for subject in subjects.split("|"):
            if problem := _line_problem(kind, subject, phrase):
                raise ValueError(f"phrases/{name}.tsv line {number}: {problem}")
            before_noun = " " if kind in ("maybe", "hedge") and phrase else ""
            phrases = book.setdefault(kind, {})
            phrases[subject] = (*phrases.get(subject, ()), phrase + before_noun)
    whole = {**defaults, **book}
    if missing := next(_missing(whole), ""):
        raise ValueError(f"phrases/{name}.tsv: no {missing}, add a line")
    return whole


def _line_problem(kind: str, subject: str, phrase: str) -> str:
    """Return the problem of a line, or ""."""
    if kind not in KINDS:
        return f"kind {kind!r}, expected one of {', '.join(KINDS)}"
    name, _, form = subject.partition("/")
    if name not in KINDS[kind] or form not in ("", "severe", "one", "both", "side"):
        return f"subject {subject!r} of {kind!r}, expected one of {', '.join(filter(None, KINDS[kind])) or 'none'}"
    if not phrase and (kind, subject) not in (("maybe", "definite"), ("hedge", "definite")):
        return "no phrase in the third column"
    slots = _EXAMPLES.get(kind, {})
    try:
        filled = phrase.format_map(slots)
    except KeyError as error:
        return f"slot {{{error.args[0]}}}, expected one of {', '.join(slots) or 'none'}"
    except (ValueError, IndexError):
        return f"phrase {phrase!r}: a brace that is not part of a slot such as {{side}}"
    try:
        read_template(filled.replace(":*", ":+"))
    except ValueError as error:
        return str(error)
    return ""


def _missing(book: Phrasebook) -> Iterator[str]:
    """Yield the kinds and subjects that have no phrase in `book`; statements are optional."""
    for kind, subjects in KINDS.items():
        named = {subject.partition("/")[0] for subject in book.get(kind, ())}
        if kind != "statement":
            yield from (f"{kind} for {subject}" if subject else kind for subject in subjects if subject not in named)
    for name, pathology in PATHOLOGIES.items():
        for finding in (Finding(name, severity, side) for severity in range(3) for side in pathology.sides):
            if not phrases_about(finding, book["noun"]):
                yield f"noun for {SEVERITIES[finding.severity]} {finding.side} {name}"


def phrases_about(finding: Finding, table: Mapping[str, Phrases]) -> Phrases:
    """Return the phrases about a finding in `table`, one kind of a phrasebook."""
    return next((table[subject] for subject in _subjects(finding) if subject in table), ())


@cache
def _subjects(finding: Finding) -> tuple[str, ...]:
    """Return the subjects that apply to a finding, the most specific first."""
    name = finding.name
    if finding.side == "bilateral":
        return (f"{name}/both", name)
    severe = (f"{name}/severe",) if finding.severity == 2 else ()
    return (*severe, f"{name}/one", name)
