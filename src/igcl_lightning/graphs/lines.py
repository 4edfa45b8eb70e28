"""Lines of a report -> paragraphs: which line breaks end a statement, and which stand in its middle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

from igcl_lightning.graphs.answers import ANSWERS
from igcl_lightning.graphs.denied_lists import denies
from igcl_lightning.graphs.lexicon import Lexicon, alternatives
from igcl_lightning.graphs.marks import ANSWER, ANSWERED, BOX, FIELD, ITEM, NAME, NAMED

LONGEST_ROW = 80
"""Characters of a line that may be the row of a table, a name and an answer."""

NARROW = 60
"""Columns below which lines are not taken for wrapped prose."""

_AFTER_BOXES = re.compile(rf"\w.*[:?\w]\s*(?:{BOX})")
_APART = re.compile(r"(?<=[a-z)])[ \t]{2,}(?=[A-Z][a-z])")
_STOPPED = re.compile(r"[a-z]{2}\. ")
_SMALL, _CAPITAL = re.compile(r"[a-z]"), re.compile(r"[A-Z]")
_ANSWER_ALONE = re.compile(rf"(?:{ANSWER})\.?", re.IGNORECASE)
_ROW = re.compile(
    rf"{NAME}(?:\s+|\s*(?:[,;|:=?>]|\.{{2,}})\s*|\s+[-\u2013\u2014]+\s+)(?:{ANSWER})[\s|]*", re.IGNORECASE
)
"""A line of a table, a name and an answer: "Effusion no"."""

_ANSWER_ENDS = re.compile(
    rf"(?:(?:[:=?|;>\t]|\s[-\u2013\u2014]+|\s\s)\s*(?:{ANSWER})|\((?:{ANSWER})\)|,\s*\w+)[\s|]*$", re.IGNORECASE
)
"""The end of a line that may end in any word."""

_LAST_WORDS = re.compile(r"([\w'/-]*)\W+([\w'/-]+)[)\]\"']*$|()([\w'/-]+)[)\]\"']*$")

_JOINS = frozenset(",/(-&+")
_OPEN = alternatives(
    "a|an|the|this|that|these|those|his|her|its|and|or|but|nor|versus|vs|with|without|of|in|on|at|to|for"
    "|from|by|into|within|over|under|near|above|below|behind|between|along|through|than|as|no|not|any|some"
    "|is|are|was|were|be|been|has|have|had|may|might|can|could|should|would|likely|probable|possible"
    "|probably|possibly|both|either|neither|which|who|if|while|although|due|secondary|consistent"
    "|compatible|suggesting|suggestive|representing|appears|appear|seems|remains|dr|mr|mrs|ms"
)
"""Words that cannot end a statement."""

_JUDGED, _IS = alternatives("probable|possible|likely"), alternatives("is|are|was|were|highly|very|most")
_CLOSED = _OPEN - alternatives("no|a|an|the|this|these|both|probable|possible|likely|neither|without")
_CLOSED |= alternatives("seen|noted|identified|present")
"""Words that continue a statement on the next line."""

_DESCRIBES = frozenset({"adjective", "side", "size", "severity", "texture"})
_NOUNS = frozenset({"noun", "outline", "finding", "appearance", "sign", "device", "generic"})


class Lines:
    """Joins the lines of a report that a line break splits.

    Args:
        lexicon: tells which words may end a statement.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._may_end = lru_cache(4096)(self._find_end)

    def __call__(self, text: str) -> Iterator[str]:
        """Yield the lines of a text, those joined that a line break splits."""
        if "  " in text or "\t" in text:
            text = _APART.sub(self._apart, text)
        lines = text.splitlines()
        if len(lines) < 2:
            yield text
            return
        shape = _Shape(lines)
        open_lines: list[str] = []
        for line in map(str.strip, lines):
            if open_lines and self._is_new(open_lines[-1], line, shape):
                yield "\n".join(open_lines)
                open_lines = []
            if not (line or open_lines):
                yield ""
            if line or (open_lines and not open_lines[-1].endswith(":")):
                open_lines.append(line)
        yield "\n".join(open_lines)

    def _apart(self, blanks: re.Match[str]) -> str:
        """Return a line break for blanks that set statements apart, otherwise the blanks."""
        text, end = blanks.string, blanks.end()
        apart = self.can_end(text[max(0, blanks.start() - 60) : blanks.start()]) and not ANSWERED.match(text, end)
        return "\n" if apart else blanks[0]

    def _is_new(self, before: str, line: str, shape: _Shape) -> bool:
        """Return whether a line starts a statement."""
        if not line or not before:
            return not before.endswith(":")
        if before[-1] == "." and len(before) > LONGEST_ROW:  # most lines, for speed
            return True
        if _ROW.fullmatch(before) or _ANSWER_ALONE.fullmatch(before) or _AFTER_BOXES.match(before):
            return not line[0].islower() or bool(_ROW.fullmatch(line))
        if _ANSWER_ALONE.fullmatch(line) and NAMED.fullmatch(before):
            return False
        return self._begins_line(before, line, shape)

    def _begins_line(self, before: str, line: str, shape: _Shape) -> bool:
        """Return whether a line that is no answer to the one before starts a statement."""
        if before[-1] == "-" and before[-2:-1].isalpha():
            return False
        if before.endswith(":") and not before.count(" ") > 5:
            return bool(ITEM.match(line) or FIELD.match(line)) or denies(before, self._lexicon)
        if before[-1] in ".!?;|" or ITEM.match(line):
            return True
        if FIELD.match(line) and before.rsplit(maxsplit=1)[-1].lower() not in _OPEN - ANSWERS:
            return True
        if shape.listed and line[0].isupper() and (before[-1] not in _JOINS or shape.commas):
            return before.rsplit(maxsplit=1)[-1].lower() not in _OPEN or bool(_ANSWER_ENDS.search(before[-30:]))
        if not self.can_end(before):
            return False
        word = line.split(maxsplit=1)[0]
        fits = len(before) + len(word) < shape.width
        if word[0].isupper() and shape.mixed:
            own = word[1:].islower() or word == "A" or (fits and "XX" not in word and self._complete(before))
            return own and (fits or not shape.stops)
        return fits and not shape.stops and word.lower() not in _CLOSED

    def _complete(self, text: str) -> bool:
        """Return whether a text ends in a noun of its own, and not in what may describe a following one."""
        return self._lexicon.kind(text.lower().split()[-4:]) in _NOUNS

    def can_end(self, text: str) -> bool:
        """Return whether a statement may end in the last words of a text."""
        return self._may_end(text[-60:])

    def _find_end(self, text: str) -> bool:
        if _ANSWER_ENDS.search(text[-30:]):
            return True
        last = _LAST_WORDS.search(text)
        if last is None:
            return text[-1] not in _JOINS
        before, word = (last[1] or last[3] or "").lower(), (last[2] or last[4]).lower()
        if word in _OPEN:
            return word in _JUDGED and before in _IS
        term = self._lexicon.terms.get((word,))
        return term is None or term.kind not in _DESCRIBES or before in _OPEN or not before or word.endswith("ly")


class _Shape:
    """Facts about the lines of a text that tell wrapped prose from one statement a line."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = [line for line in map(str.strip, lines) if line]

    @cached_property
    def width(self) -> int:
        """Columns that lines may fill."""
        return max(NARROW, *map(len, self._lines))

    @cached_property
    def mixed(self) -> bool:
        """Whether there are capitals and small letters."""
        return any(map(_SMALL.search, self._lines)) and any(map(_CAPITAL.search, self._lines))

    @cached_property
    def stops(self) -> bool:
        """Whether there are full stops."""
        return any(line.endswith(".") or _STOPPED.search(line) for line in self._lines)

    @cached_property
    def commas(self) -> bool:
        """Whether commas end the lines."""
        return all(line.endswith(",") for line in self._lines[:-1])

    @cached_property
    def listed(self) -> bool:
        """Whether statements have no full stops and begin with a capital on a line of their own."""
        capitalised = sum(line[0].isupper() for line in self._lines)
        return self.mixed and not self.stops and 4 * capitalised >= 3 * len(self._lines)
