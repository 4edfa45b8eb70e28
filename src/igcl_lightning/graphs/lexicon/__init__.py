"""The words of the report parser: data files that a radiologist can edit, and the search for them in a sentence.

Each `*.tsv` file of this folder holds the terms of one role (its name); its header explains the kinds of terms.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

KINDS: dict[str, frozenset[str]] = {
    "anatomy": frozenset({"noun", "adjective", "outline", "property"}),
    "observations": frozenset({"finding", "sign", "device", "part", "generic", "state", "normal"}),
    "modifiers": frozenset({"severity", "size", "texture", "extent", "temporal", "stability", "cause"}),
    "negation": frozenset({"before", "after", "none"}),
    "hedges": frozenset({"before", "after", "between"}),
    "connectors": frozenset(
        {
            "suggests",
            "may suggest",
            "place",
            "of",
            "predicate",
            "list",
            "with",
            "break",
            "exists",
            "the",
            "inside",
            "skip",
        }
    ),
}
"""The kinds of terms that each file may hold."""

HYPHENS = frozenset("-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{EN DASH}")


_SILENT = re.compile(r"\d|x{3,}$|_+$")


class Match(NamedTuple):
    """A term found in a sentence: its words `start..end` (inclusive), its role (the file) and kind (the column)."""

    start: int
    end: int
    role: str
    kind: str


class Lexicon:
    """Terms by their words, and the search for the longest of them.

    Args:
        files: the text of each file by role.

    Raises:
        ValueError: a line without a kind, of an unknown kind, or with a term that stands elsewhere too; the message
            names file and line.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        terms: dict[tuple[str, ...], tuple[str, str]] = {}
        for role, text in sorted(files.items()):
            _add_terms(terms, role, text)
        self._by_first_word: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
        for words, (role, kind) in sorted(terms.items(), key=lambda item: -len(item[0])):
            self._by_first_word.setdefault(words[0], []).append((words, role, kind))
        self.terms = terms
        self.version = hashlib.sha256("\0".join(text for _, text in sorted(files.items())).encode()).hexdigest()[:12]

    def match(self, words: Sequence[str]) -> list[Match]:
        """Return the terms in `words` (lower case) from left to right, the longest first, without overlap.

        Hyphens are skipped inside and between terms. A number or a de-identification mark ("XXXX", "___") is a
        connector of kind "inside": it is no entity and tears no phrase.
        """
        positions = [index for index, word in enumerate(words) if word not in HYPHENS]
        plain = [words[index] for index in positions]
        matches = []
        at = 0
        while at < len(plain):
            length, role, kind = self._longest(plain, at)
            if role:
                matches.append(Match(positions[at], positions[at + length - 1], role, kind))
            at += length
        return matches

    def _longest(self, words: list[str], at: int) -> tuple[int, str, str]:
        """Return length, role and kind of the longest term that starts at word `at`; the role is "" without any."""
        for term, role, kind in self._by_first_word.get(words[at], ()):
            if len(term) == 1 or tuple(words[at : at + len(term)]) == term:
                return len(term), role, kind
        return (1, "connectors", "inside") if _SILENT.match(words[at]) else (1, "", "")


@cache
def load_lexicon() -> Lexicon:
    """Return the lexicon of the packaged files."""
    folder = resources.files(__name__)
    return Lexicon({role: folder.joinpath(f"{role}.tsv").read_text("utf-8") for role in KINDS})


def _add_terms(terms: dict[tuple[str, ...], tuple[str, str]], role: str, text: str) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        term, kind, variants = (*line.split("\t"), "", "")[:3]
        if kind not in KINDS[role]:
            raise ValueError(f"{role}.tsv line {number}: kind {kind!r}, expected one of {sorted(KINDS[role])}")
        for form in (term, *filter(None, variants.split("|"))):
            words = tuple(form.lower().replace("-", " ").split())
            if not words or words in terms:
                problem = f"{form!r} stands twice" if words else "an empty term"
                raise ValueError(f"{role}.tsv line {number}: {problem}, keep one")
            terms[words] = (role, kind)
