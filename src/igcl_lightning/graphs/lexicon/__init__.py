"""Lexicon of the report parser: word lists that a radiologist can edit, and their search in a sentence.

Each `*.tsv` file in this folder holds the terms of one role (its name); its header explains the kinds of terms.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any, NamedTuple

from igcl_lightning.graphs.schema import HEDGES

HYPHENS = frozenset("-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{EN DASH}")


def alternatives(cell: str) -> frozenset[str]:
    """Return the alternatives in a cell of a file, separated by "|"."""
    return frozenset(filter(None, cell.split("|")))


KINDS: dict[str, frozenset[str]] = {
    "anatomy": alternatives("noun|adjective|side|outline|property"),
    "observations": alternatives(
        "finding|appearance|sign|device|procedure|part|generic|mention|state|borderline|normal"
    ),
    "modifiers": alternatives("severity|size|texture|extent|temporal|stability|cause|number|unit"),
    "negation": alternatives("before|after|none"),
    "elsewhere": alternatives("before|clause|past"),
    "hedges": frozenset(
        f"{strength} {position}"
        for strength in HEDGES[1:]
        for position in ("before", "after", "between", "over", "context")
    ),
    "connectors": alternatives(
        "suggests|probably suggests|possibly suggests|hardly suggests|explains|place|of|predicate|list|with"
        "|break|exists|the|inside|skip"
    ),
}
"""Kinds of terms in each file."""

SYNONYMS = "synonyms"  # file of terms with the same meaning
PARAPHRASES = "paraphrases"  # file of observations that mean the same, for keys and facts
RIGHTLY_SPELT = "rightly_spelt"  # file of ordinary words that look like misspelt terms

ENTITY_ROLES = frozenset({"anatomy", "observations", "modifiers"})
"""Roles that become entities; the others describe how entities belong together. Only the former may be misspelt."""

ADVERBS = dict.fromkeys(
    alternatives(
        "again|also|actually|additionally|certainly|conceivably|conclusively|confidently|currently|definitely"
        "|definitively|easily|even|formally|further|indeed|now|really|reliably|safely|still|theoretically|today|truly|yet"
    ),
    frozenset(KINDS) - ENTITY_ROLES,
) | dict.fromkeys(alternatives("completely|entirely|fully|totally|well"), frozenset({"hedges"}))
"""Words that may stand inside terms of some roles: "cannot reliably be excluded", "there may well be"."""

_ADVERBS, _ALL_ROLES = frozenset(ADVERBS), frozenset(KINDS)

MISSPELT_LENGTH = 8
"""Minimum length of words that are checked for misspelling; shorter ones are often one letter away from other words."""

ANY_DATE = "1999"
"""The year that stands for every date in terms ("in 1999")."""

_DATE = re.compile(r"(?:19|20)\d\d$|(?:\d\d?[/.]){1,2}(?:19|20)\d\d$|\d\d?[/.]\d\d?[/.]\d\d$|\d{4}/\d\d?/\d\d?$")
_BRITISH = re.compile(r"is(?=(?:e|ed|es|ing|ation|ations)$)")  # "visualised"
LONGEST_SPELT = 40
"""Letters of a word that is checked for misspelling, so that time and memory are linear in words of any length."""

_SILENT = re.compile(r"\d|x{3,}$|_+$")
CACHED_WORDS = 65_536

LONGEST_MEASURE = 8
"""Words of a measure ("1.2 x 3 x 4 cm"), so that time is linear in tables of numbers."""

MARK_STARTS = frozenset("0123456789x_")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?$")
_NUMBER_LINKS = frozenset({"x", "by", "to"})


@dataclass(slots=True, eq=False)
class Match:
    """A term found in a sentence: its words `start..end` (inclusive) and the fields of its `Term`."""

    start: int
    end: int
    role: str
    kind: str
    name: str
    link: str


class Term(NamedTuple):
    """A term of the lexicon."""

    role: str  # name of its file
    kind: str  # second column of its line
    name: str  # first form in its line, shared by all forms
    link: str  # kind of a connector, "list" for an alternative, role and position of another cue, "" for an entity


def _term(role: str, kind: str, name: str) -> Term:
    position = kind.rpartition(" ")[2]
    cue = "list" if position == "between" else f"{role} {position}"
    return Term(role, kind, name, "" if role in ENTITY_ROLES else kind if role == "connectors" else cue)


Node = dict[str, Any]
"""Following words, each with its node; under "" the `Term` that ends here."""


class Lexicon:
    """Terms by their words, and the search for the longest of them.

    Args:
        files: the text of each file by role.

    Raises:
        ValueError: a line has no kind, an unknown kind or a repeated term; the message names file and line.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.terms: dict[tuple[str, ...], Term] = {}
        for role, text in sorted(files.items()):
            if role in KINDS:
                _add_terms(self.terms, role, text)
        self._meanings = _read_synonyms(files.get(SYNONYMS, ""))
        self._root: Node = {}
        for words, term in self.terms.items():
            node = self._root
            for word in words:
                node = node.setdefault(word, {})
            node[""] = term
        ends = ((word, node[""]) for word, node in self._root.items() if node.keys() == {""})
        self._alone = {word: term for word, term in ends if term.kind != "unit"}  # no longer term begins with these
        self._words = {word for words in self.terms for word in words}
        self._by_slip: dict[str, list[str]] = {}
        said = {word for words, term in self.terms.items() if term.role in ENTITY_ROLES for word in words}
        for word in sorted(word for word in said if len(word) >= MISSPELT_LENGTH and word.isalpha()):
            for form in _shortened(word):
                self._by_slip.setdefault(form, []).append(word)
        self._rightly_spelt = {word for _, (word,) in rows(RIGHTLY_SPELT, files.get(RIGHTLY_SPELT, ""), 1)}
        self._respelt = lru_cache(CACHED_WORDS)(self._find_term)
        self.version = hashlib.sha256("\0".join(text for _, text in sorted(files.items())).encode()).hexdigest()[:12]

    def match(self, words: Sequence[str]) -> list[Match]:
        """Return the terms in `words` (lower case) from left to right, the longest first, without overlap.

        Hyphens are skipped inside and between terms. A word that misspells one long word of the lexicon is read as that
        word. A number with a unit is a modifier of kind "measure"; any other number and a de-identification mark
        ("XXXX", "___") is a connector of kind "inside", which is no entity and splits no phrase.
        """
        if HYPHENS.isdisjoint(words):
            return self._match(words)
        at = [index for index, word in enumerate(words) if word not in HYPHENS]
        found = self._match([words[index] for index in at])
        for match in found:
            match.start, match.end = at[match.start], at[match.end]
        return found

    def _match(self, words: Sequence[str]) -> list[Match]:
        """Return the terms in words without hyphens."""
        known = self._words
        plain = [word if word in known else self._respelt(word) for word in words]
        adverbs = not _ADVERBS.isdisjoint(plain)
        matches = []
        at, end = 0, len(plain)
        while at < end:
            word = plain[at]
            if term := self._alone.get(word):
                matches.append(Match(at, at, *term))
                at += 1
                continue
            node = self._root.get(word)
            if node is None and word[0] not in MARK_STARTS:
                at += 1
                continue
            length, term = self._longest(plain, at, node, adverbs)
            if term is not None:
                matches.append(Match(at, at + length - 1, *term))
            at += length
        return matches

    def begins(self, word: str) -> bool:
        """Return whether a term begins with a word (lower case)."""
        return word in self._root

    def kind(self, words: Sequence[str]) -> str:
        """Return the kind of the last term in `words` (lower case), "" without any."""
        return next((match.kind for match in reversed(self.match(words)) if match.name), "")

    def meaning(self, words: Sequence[str]) -> frozenset[str]:
        """Return the meanings of `words` (lower case): names of the terms in them, synonyms merged, and other words."""
        meanings: set[str] = set()
        at = 0
        for match in self.match(words):
            meanings.update(words[at : match.start])
            said = match.name or " ".join(words[match.start : match.end + 1])
            meanings.update(self._meanings.get(said, [said]))
            at = match.end + 1
        return frozenset(meanings.union(words[at:]) - HYPHENS) or frozenset(words)

    def _longest(self, words: list[str], at: int, node: Node | None, adverbs: bool) -> tuple[int, Term | None]:
        """Return length and entry, or None, of the longest term from word `at`, whose node in the tree is `node`."""
        found: tuple[int, Term | None] = (1, None)
        end = at + 1
        ahead = node
        while ahead is not None:
            if "" in ahead:
                found = end - at, ahead[""]
            ahead = ahead.get(words[end]) if end < len(words) else None
            end += 1
        if adverbs and node is not None:
            found = self._through_adverbs(words, at, node, found)
        if found[1] is None and _SILENT.match(words[at]):
            return self._measure(words, at)
        return (found[0], _MARK) if found[1] is not None and found[1].kind == "unit" else found

    def _through_adverbs(
        self, words: list[str], at: int, node: Node, found: tuple[int, Term | None]
    ) -> tuple[int, Term | None]:
        """Return the longest term from word `at` that may have adverbs inside, or the one found without."""
        ahead = [(node, at + 1, _ALL_ROLES)]
        for start, end, roles in ahead:
            following: Node | None = start
            while following is not None and end < len(words):
                if words[end] in ADVERBS and len(ahead) < 3:  # two adverbs at most, so that time is linear
                    ahead.append((following, end + 1, roles & ADVERBS[words[end]]))
                following = following.get(words[end])
                end += 1
                term = following.get("") if following else None
                if term is not None and end - at > found[0] and term.role in roles:
                    found = end - at, term
        return found

    def _measure(self, words: list[str], at: int) -> tuple[int, Term]:
        """Return length and entry of the measure ("1.2 x 3 cm"), number or mark that starts at word `at`."""
        end = at
        while end < min(len(words), at + LONGEST_MEASURE) and (
            _NUMBER.match(words[end]) or (end > at and words[end] in _NUMBER_LINKS)
        ):
            end += 1
        unit = self.terms.get((words[end],)) if at < end < len(words) else None
        return (end + 1 - at, _MEASURE) if unit is not None and unit.kind == "unit" else (1, _MARK)

    def _find_term(self, word: str) -> str:
        """Return the word of the lexicon that `word` misspells or stands for, or `word` itself."""
        if _DATE.match(word):
            return ANY_DATE
        word = word.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        if word in self._rightly_spelt or word in self._words or len(word) > LONGEST_SPELT:
            return word
        if (american := _BRITISH.sub("iz", word)) in self._words:
            return american
        slips = {near for form in _shortened(word) for near in self._by_slip.get(form, ()) if one_slip(word, near)}
        return slips.pop() if len(slips) == 1 else word


def _shortened(word: str) -> set[str]:
    """Return a word and its forms with one letter, not the first, left out."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(1, len(word)))}


def one_slip(word: str, other: str) -> bool:
    """Return whether two words differ by one wrong, missing or extra letter, or by two swapped letters."""
    if len(word) > len(other):
        word, other = other, word
    at = next((index for index, (one, two) in enumerate(zip(word, other, strict=False)) if one != two), len(word))
    if len(word) < len(other):
        return len(other) - len(word) == 1 and word[at:] == other[at + 1 :]
    swapped = word[at + 1 : at + 2] + word[at : at + 1] == other[at : at + 2] and word[at + 2 :] == other[at + 2 :]
    return word[at + 1 :] == other[at + 1 :] or swapped


_MARK = _term("connectors", "inside", "")
_MEASURE = _term("modifiers", "measure", "")


@cache
def load_lexicon() -> Lexicon:
    """Return the lexicon of the packaged files."""
    return Lexicon({name: packaged_text(name) for name in (*KINDS, SYNONYMS, PARAPHRASES, RIGHTLY_SPELT)})


def packaged_text(name: str) -> str:
    """Return the text of a file in this folder, by its name without suffix."""
    return resources.files(__name__).joinpath(f"{name}.tsv").read_text("utf-8")


def rows(name: str, text: str, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line that is neither blank nor a comment; missing cells are empty.

    Raises:
        ValueError: a line has more cells; the message names file and line.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            cells = [cell.strip() for cell in line.split("\t")]
            if len(cells) > columns:
                raise ValueError(f"{name}.tsv line {number}: {len(cells)} cells, expected at most {columns}")
            yield number, [*cells, *[""] * (columns - len(cells))]


def _read_synonyms(text: str) -> dict[str, list[str]]:
    """Return the meanings of each term that has synonyms."""
    return {name: meaning.split(" + ") for _, (meaning, names) in rows(SYNONYMS, text, 2) for name in names.split("|")}


def _add_terms(terms: dict[tuple[str, ...], Term], role: str, text: str) -> None:
    for number, (term, kind, variants) in rows(role, text, 3):
        if kind not in KINDS[role]:
            raise ValueError(f"{role}.tsv line {number}: kind {kind!r}, expected one of {sorted(KINDS[role])}")
        for form in (term, *filter(None, variants.split("|"))):
            words = tuple(form.lower().replace("-", " ").split())
            if not words or words in terms:
                problem = f"{form!r} is repeated" if words else "an empty term"
                raise ValueError(f"{role}.tsv line {number}: {problem}, keep one")
            terms[words] = _term(role, kind, term)
