"""Lists under a heading that denies their items: "No evidence of:", "Not seen:", "The following are absent:"."""

from __future__ import annotations

import re

from igcl_lightning.graphs.lexicon import Lexicon

_OPEN_ENDS = (":", " no", " of", " for", " any", " without", " not", " from", " see", " new", " acute")
_NAMED = frozenset({"anatomy", "observations"})
_NOTHING_NAMED = frozenset({"generic", "mention"})
_STATES = re.compile(
    r"\b(?:is|are|was|were|has|have|there|no|not|without|but|normal|clear|unremarkable|intact)\b|:", re.I
)
"""What is no item but a statement, or a heading."""

_LONGEST_ITEM = 8  # words of an item without a mark


class Denied(str):
    """An item of a list that its heading denies."""

    __slots__ = ()


class DeniedList:
    """Follows the lines of a report and tells which of them are items of a denied list.

    A list ends at an empty line, a statement, a heading, or a line without a mark after one with.

    Args:
        lexicon: tells what denies.
        item: matches the mark of an item.
    """

    def __init__(self, lexicon: Lexicon, item: re.Pattern[str]) -> None:
        self._lexicon, self._item = lexicon, item
        self._marks: set[bool] = set()  # whether items of the list have marks
        self._heading = ""

    def includes(self, line: str) -> bool:
        """Return whether the next line, "" for an empty one, is denied by the heading before it."""
        if not line:
            self._heading = "" if self._marks else self._heading
            return False
        if self._heading and not _STATES.search(line):
            marked = bool(self._item.match(line))
            short = self._heading.endswith(":") and line.count(" ") < _LONGEST_ITEM
            if self._marks <= {marked} and (marked or short):
                self._marks.add(marked)
                return True
        self._marks = set()
        heads = self._is_denial(line) or (line.endswith(_OPEN_ENDS) and denies(line, self._lexicon))
        self._heading = line if heads else ""
        return False

    def _is_denial(self, line: str) -> bool:
        """Return whether a line is nothing but a denial ("Absent"), whose list has marks."""
        term = self._lexicon.terms.get(tuple(line.lower().split()[:_LONGEST_ITEM]))
        return term is not None and term.role == "negation" and term.kind != "none"


def denies(heading: str, lexicon: Lexicon) -> bool:
    """Return whether a heading denies what follows: it ends in a denial, or has one and names nothing else."""
    words = heading.lower().rstrip(": ").split()
    matches = lexicon.match(words)
    cues = [match for match in matches if match.role == "negation" and match.kind != "none"]
    if not cues:
        return False
    last = matches[-1]
    open_end = last is cues[-1] or (last.role == "modifiers" and matches[-2:-1] == cues[-1:])
    if cues[-1].kind == "before" and open_end and last.end == len(words) - 1:
        return True
    named = any(match.role in _NAMED and match.kind not in _NOTHING_NAMED for match in matches)
    return heading.endswith(":") and not named
