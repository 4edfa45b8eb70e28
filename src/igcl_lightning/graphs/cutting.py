"""Report text -> its statements: prose, wrapped lines, lists, and templates of fields.

The words of the statements are those of the text, in order; blanks may be added between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from igcl_lightning.graphs.answers import LONGEST_NAME, describes
from igcl_lightning.graphs.assertions import SEEN
from igcl_lightning.graphs.denied_lists import Denied, DeniedList, denies
from igcl_lightning.graphs.lexicon import Lexicon, alternatives
from igcl_lightning.graphs.lines import Lines
from igcl_lightning.graphs.marks import ANSWERED, BOX, BOXED, BULLETS, ITEM, MARK, NAMED
from igcl_lightning.graphs.numbering import item_numbers
from igcl_lightning.graphs.plain_text import plain_text

ABBREVIATIONS = ("Dr.", "Drs.", "Mr.", "Mrs.", "Ms.", "vs.", "e.g.", "i.e.", "a.m.", "p.m.", "approx.")

LONGEST_STATEMENT = 1_000
"""Characters of a statement before it is split at a blank, so that time is linear in texts without full stops."""

LONGEST_WORD = 100
"""Characters of a word before it is split, so that time is linear in texts without blanks."""

LONGEST_CELL = 60
"""Characters of a cell of a table that may be the value of the cell before it."""

_SEPARATOR = re.compile(
    rf"\s?\|+\s?|\s?(?<!/)//++\s|\s?[{BULLETS}]+\s?|\s\u00b7\s|\s(?:\*+|~+|#{{2,}}|_)\s"
    r"|\s[-/+*~>](?=[A-Z][A-Za-z])|\s->(?=\w)|(?<=[a-z])(?:\*+|-{2,}|/{2,}|\u00b7)(?=[A-Z])"
)
_SEPARATES = re.compile(rf"[|/{BULLETS}\u00b7*~#_+>-]")
"""A mark that every separator has."""

_SLASH = re.compile(r"(?<=[a-z)]) / (?=[a-z]+)", re.IGNORECASE)
_INNER_FIELD = re.compile(
    r"(?:(?<=[a-z0-9)%.,;])|(?<=: [-+])|(?<=: NO)|(?<=: YES)|(?<=: NONE)) "
    r"(?=[A-Z][\w/&-]*(?: (?:and |or |of )?[A-Za-z/&-]+){0,3} ?:(?:[\sA-Za-z]|$))"
)
_INNER_BOX = re.compile(rf"\s+(?=(?:{BOX})\s*[A-Za-z])")
_AFTER_BOX = re.compile(rf"(?<=\w)\s*(?:{BOX})[,;]?(?=\s+[A-Za-z])")
_OPTIONS = re.compile(rf"[:?]\s*(?:\w+\s*)?(?:{BOX})|(?:{BOX})[^\[(\u2610-\u2612]*\w[^\[(\u2610-\u2612]*$")
"""A choice among answers: "Edema: [ ] none [x] mild"."""
_DASH = re.compile(r"(?<=[^\s\d])\s+[-\u2013\u2014]+\s+(?=[^\s\d])|(?<=\s)\s*--+\s+")
_DENIES = re.compile(r"\s*(?:no|without|negative|not|neither|free)\b", re.IGNORECASE)
_RUN_ON = re.compile(r"(?<=[A-Za-z0-9)])(?<!\([ xX+-]\)) (?=[A-Z][a-z]*\b(?!-(?!sided)))")
_GLUED_ANSWER = re.compile(
    r"(?<=\b[RL])(?=[-+](?:[\s,;.]|$))|(?<=\w)(?=\((?:[-+?]|neg|pos|no|yes|[nNyY])\))|(?<=[A-Za-z])(?==)|(?<==)(?=[A-Za-z])"
    r"|(?<=[\[(][ xXvV*+-][\])])(?=[A-Za-z])|(?<=[A-Za-z)]:)(?=[A-Za-z+-])"
    r"|(?<=[A-Za-z)\]];)(?=[A-Za-z])|(?<=[a-z)],)(?=[A-Za-z0-9])"
    r"|(?<=[A-Za-z])(?=--[A-Za-z])|(?<=[A-Za-z]--)(?=[A-Za-z])"
)
_PROSE = re.compile(
    r"(?:[A-Z]?[a-z]{1,40}+|[A-Z]{2,20}|T(?=-[a-z])|(?:A|\d{1,3}(?:\.\d)?)(?= [a-z]))"
    r"(?:(?:,? |[-/'])(?:[a-z]{1,40}+|[A-Z]{2,20}\d?\d?|T(?:\d\d?|(?=-[a-z]))|\d{1,3}(?:\.\d{1,2}|st|nd|rd|th)?))*+"
    r"(?: ?\.|[.!?]|(?<=[a-z])\.\.)?"
)
"""A sentence without a mark, and without a capitalised word but the first."""

_HYPHENATED = re.compile(r"(?<=\w)-\n(?=\w)")
_GOES_ON = re.compile(r"(?:and|or|nor|but|which)\b")
_STOP = re.compile(
    r"([.!?](?:(?<=[.!])(?<![.!][.!])[.!]*+|(?<=[\w)]\?)))[)\]\"']?"
    r"(?:\s+|(?=[A-Za-z]|[-*\u2013](?:\s|[A-Z])|\(\w{1,2}\)|\d{1,2}(?:[.)] ?[A-Z]| ?[cm]m\b)))"
)
_GLUED = re.compile(r"(?:[A-Za-z]{3}|\d\d|_|X{4}|[)\]])$")
"""What stands before a full stop that no blank follows; shorter words may be abbreviations."""
_ORDINAL = re.compile(r"[a-z] [Nn]o\. ?\d")
_SHORT = re.compile(r"[^.?!]{1,40}(?=[.?!]|$)")
_NEXT_WORD = re.compile(r"[A-Za-z]+")
_TITLE_WORD = re.compile(r"\b[A-Z][a-z]+$")
_BEGINS = alternatives(
    "the|there|this|these|a|an|no|none|both|within|without|status|patient|since|single|compared|limited"
    "|remainder|incidental|several|please|after|given|otherwise|further|well|background"
)
_NAMES = alternatives(
    "swan|port|hickman|kerley|groshong|dobhoff|mediport|morgagni|bochdalek|schmorl|chilaiditi|harrington"
    "|nissen|pancoast|hampton|ghon|ranke|broviac|quinton|permcath"
)
"""Names that are capitalised inside a statement."""


class Cutter:
    """Cuts reports into statements.

    Args:
        lexicon: tells which words may end a statement.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._lines = Lines(lexicon)

    def __call__(self, text: str) -> Iterator[str]:
        """Yield the sentences of a report, with single blanks; those that a heading denies are `Denied`."""
        denied = DeniedList(self._lexicon, ITEM)
        for paragraph in self._lines(plain_text(text)):
            if "\n" in paragraph:
                paragraph = _HYPHENATED.sub("-", paragraph)
            single = paragraph.isprintable() and "  " not in paragraph  # most lines, for speed
            line = paragraph.strip() if single else " ".join(paragraph.split())
            sentences = self._sentences(line)
            yield from map(Denied, sentences) if denied.includes(line) else sentences

    def _sentences(self, text: str) -> Iterator[str]:
        """Yield the sentences of a text; a full stop of an abbreviation or in "A.Smith" ends none, nor "Edema? No."."""
        start = 0
        for match in _STOP.finditer(text):
            stop, end = match.end(1), match.end()
            if match[1] != "." and self._asks(text, start, match):
                continue
            if text.endswith(ABBREVIATIONS, start, stop) or (
                text[stop - 2 : stop] == "o." and _ORDINAL.match(text, stop - 5)
            ):
                continue
            blank = text[end - 1] == " "
            if not blank and end < len(text) and not self._ends(text, match):
                continue
            yield text[start : end - blank]
            start = end
        yield text[start:]

    def _asks(self, text: str, start: int, match: re.Match[str]) -> bool:
        """Return whether a question mark or "..." precedes an answer."""
        stop = match.end(1)
        if text.startswith((" - ", " \u2013 "), stop):
            stop += 2
        if (match[1] == "?" or len(match[1]) > 2) and ANSWERED.match(text, stop):
            return True
        return match[1] == "?" and (bool(BOXED.match(text, stop)) or self._described(text, start, stop))

    def _described(self, text: str, start: int, stop: int) -> bool:
        """Return whether the question before a place is a name, and its answer only describes ("Heart? Large.")."""
        answer = _SHORT.match(text, stop)
        short = stop - start < LONGEST_WORD and text.count(" ", start, stop) < LONGEST_NAME
        return answer is not None and short and describes(answer[0].lower().split(), self._lexicon)

    def _ends(self, text: str, match: re.Match[str]) -> bool:
        """Return whether a full stop without a blank after it ends a sentence: before a word that may begin one."""
        end = match.end()
        before = text[max(0, match.start() - 4) : match.start()]
        word = _NEXT_WORD.match(text, end)
        if word is None:
            return not (text[end].isdigit() and before[-1:].isdigit())
        if word[0][0].isupper() and before[-2:].isalpha() and before[-2:].islower():
            return True
        plain = word[0].lower()
        known = len(plain) > 1 and (plain in _BEGINS or self._lexicon.begins(plain))
        return known and (word[0][0].isupper() or bool(_GLUED.search(before)))

    def statements(self, sentence: str) -> Iterator[str]:
        """Yield the statements of a sentence; the marks of lists are statements without content."""
        if len(sentence) <= LONGEST_STATEMENT and _PROSE.fullmatch(sentence):  # most sentences, for speed
            yield sentence
            return
        for item in self._items(sentence):
            for part in self._between_dashes(item):
                yield from _pieces(part)

    def _items(self, sentence: str) -> Iterator[str]:
        """Yield the marks and the items of a sentence: list marks, separators, fields and boxes end an item."""
        sentence = _GLUED_ANSWER.sub(" ", sentence)
        mark = MARK.match(sentence)
        if mark is not None:
            yield mark["item"].strip()
            sentence = sentence[mark.end() :]
        found = _SEPARATOR.finditer(sentence) if _SEPARATES.search(sentence) else ()  # for speed
        separators = (match for match in found if not self._is_value(sentence, match.end()))
        cuts = {place for match in separators for place in match.span()}
        cuts.update(place for match in _SLASH.finditer(sentence) if self._parts(match) for place in match.span())
        numbers = list(item_numbers(sentence, mark["item"] if mark else ""))
        if numbers and not denies(sentence[: numbers[0][0]], self._lexicon):
            cuts.update(place for match in numbers for place in match)
        cuts.update(match.end() for match in _INNER_FIELD.finditer(sentence))
        box = BOXED.match(sentence)
        if box or not _OPTIONS.search(sentence):
            cuts.update(match.end() for match in (_INNER_BOX if box else _AFTER_BOX).finditer(sentence))
        for match in _RUN_ON.finditer(sentence, box.end() + 1 if box else 0):
            if self._runs_on(sentence, match.end()):
                cuts.add(match.end())
        start = 0
        for cut in sorted(cuts):
            yield sentence[start:cut]
            start = cut
        yield sentence[start:]

    def _between_dashes(self, text: str) -> Iterator[str]:
        """Yield the items of a list separated by dashes between blanks ("no effusion - small nodule")."""
        found = _DASH.finditer(text)
        dashes = [each for each in found if not (ANSWERED.match(text, each.end()) or _GOES_ON.match(text, each.end()))]
        listed = bool(dashes) and (_DENIES.match(text) or (len(dashes) > 1 and self._states(text[: dashes[0].start()])))
        start = 0
        if listed and denies(text[: dashes[0].start()], self._lexicon):
            listed = False
        for dash in dashes if listed else ():
            yield text[start : dash.start()]
            yield dash[0]
            start = dash.end()
        yield text[start:]

    def _is_value(self, text: str, at: int) -> bool:
        """Return whether an answer or a description in a cell of its own begins at a place ("| Heart | enlarged |")."""
        if ANSWERED.match(text, at):
            return True
        cell = text[at : at + LONGEST_CELL].partition("|")[0]
        name = text[max(0, at - LONGEST_CELL) : at].rstrip("| ").rpartition("|")[2].strip()
        named = text[at - 2 : at] == "| " and NAMED.fullmatch(name)
        return bool(named) and describes(cell.lower().split(), self._lexicon)

    def _parts(self, slash: re.Match[str]) -> bool:
        """Return whether a slash after a denial precedes an item of its own ("no edema / small nodule")."""
        text, end = slash.string, slash.end()
        word = _NEXT_WORD.match(text, end)
        term = self._lexicon.terms.get((word[0].lower(),)) if word else None
        begins = term is not None and (term.kind == "side" or term.name in SEEN or term.name == "no")
        before = text[max(0, slash.start() - 60) : slash.start()]
        return begins and bool(_DENIES.match(text)) and self._lines.can_end(before)

    def _states(self, text: str) -> bool:
        """Return whether a text has an observation, and not just the name of a place."""
        return any(match.role == "observations" for match in self._lexicon.match(text.lower().split()))

    def _runs_on(self, text: str, at: int) -> bool:
        """Return whether the capitalised word at a place starts a statement although no full stop precedes it."""
        if ANSWERED.match(text, at):
            return False
        word = text[at : at + 30].split(maxsplit=1)[0].rstrip(".,;:").lower()
        before = text[max(0, at - 60) : at].rstrip()
        begins = word not in _NAMES and self._lexicon.begins(word.removesuffix("-sided"))
        return (word in _BEGINS or (begins and not _TITLE_WORD.search(before))) and self._lines.can_end(before)


def _pieces(sentence: str) -> Iterator[str]:
    """Yield a sentence with single blanks, in pieces if it is long."""
    words = sentence.split()
    line = " ".join(words)
    if len(line) <= LONGEST_WORD:
        yield line
        return
    if max(map(len, words)) > LONGEST_WORD:
        words = [word[at : at + LONGEST_WORD] for word in words for at in range(0, len(word), LONGEST_WORD)]
        line = " ".join(words)
    start = 0
    while len(line) - start > LONGEST_STATEMENT:
        end = line.rindex(" ", start, start + LONGEST_STATEMENT)
        yield line[start:end]
        start = end + 1
    yield line[start:]
