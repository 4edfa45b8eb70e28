"""Report text -> knowledge graph: the parser protocol and the parser that needs no model weights."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Protocol

from igcl_lightning.graphs.lexicon import load_lexicon
from igcl_lightning.graphs.schema import ReportGraph, join_graphs
from igcl_lightning.graphs.sentence import RULES_VERSION, read_sentence

KNOWN_WORDS = 100_000
"""Words cached by the tokenizer before it is reset, so that memory does not grow with the input."""

CACHED_SENTENCES = 16_384  # sentences cached by a parser: reports repeat them (two of three in Open-i)

LONGEST_SENTENCE = 4_000
"""Characters of a sentence before it is split at blanks, so that time is linear in texts without full stops."""

LONGEST_CACHED = 400  # maximum length of cached sentences in characters; longer ones rarely repeat

_ABBREVIATIONS = ("Dr.", "Drs.", "Mr.", "Mrs.", "Ms.", "vs.", "e.g.", "i.e.", "a.m.", "p.m.", "approx.")
_SENTENCE_END = re.compile(
    r"(?:[.!\n]|(?<=\w)\?)(?:(?<=[.!?])(?:\s+|(?=[A-Z]))|(?<=\n)\s*(?:\n|(?=(?:\d+[.)]|[-*\u2022])\s)))",
)
"""A full stop before a blank or a capital letter, an empty line, or a line that starts a numbered or bulleted item."""


class ReportGraphParser(Protocol):
    """Turns reports into graphs."""

    version: str  # recorded in a store's manifest; changes when the same text may give another graph

    def parse(self, text: str) -> ReportGraph:
        """Return the graph of one report, empty for a text that states nothing; never raises."""

    def parse_many(self, texts: Iterable[str]) -> Iterator[ReportGraph]:
        """Yield the graph of each report, in order."""


class SpacyReportParser:
    """Rules over a lexicon of chest radiology and spaCy's tokenizer, without model weights or downloads.

    Sentences are parsed one by one (`graphs.sentence`) and cached.

    Example:
        >>> graph = SpacyReportParser().parse("Small right pleural effusion.")
        >>> [(entity.tokens, entity.label) for entity in graph.entities]
        [('Small', 'OBS-DP'), ('right', 'ANAT-DP'), ('pleural', 'ANAT-DP'), ('effusion', 'OBS-DP')]
    """

    def __init__(self) -> None:
        self._lexicon = load_lexicon()
        self._tokenizer = _report_tokenizer()
        self._read = lru_cache(CACHED_SENTENCES)(self._read_sentence)
        self.version = f"spacy-rules-{RULES_VERSION}-{self._lexicon.version}"

    def __reduce__(self) -> tuple[type[SpacyReportParser], tuple[()]]:
        """Pickle without the cache."""
        return type(self), ()

    def parse(self, text: str) -> ReportGraph:
        """Return the graph over the words of any text, `ReportGraph("")` for a blank one.

        De-identification marks such as "XXXX" or "___" are not entities.
        """
        graphs = (
            self._read(sentence) if len(sentence) <= LONGEST_CACHED else self._read_sentence(sentence)
            for sentence in _sentences(text.encode(errors="replace").decode())  # UTF-8 cannot encode surrogates
        )
        return join_graphs(graph for graph in graphs if graph.text)

    def parse_many(self, texts: Iterable[str]) -> Iterator[ReportGraph]:
        """Yield the graph of each report, in order."""
        return map(self.parse, texts)

    def _read_sentence(self, sentence: str) -> ReportGraph:
        if len(self._tokenizer.vocab) > KNOWN_WORDS:
            self._tokenizer = _report_tokenizer()
        return read_sentence([token.text for token in self._tokenizer(" ".join(sentence.split()))], self._lexicon)


def _sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text, long ones in pieces."""
    for sentence in _full_stops(text):
        if len(sentence) <= LONGEST_SENTENCE:
            yield sentence
        else:
            yield from textwrap.wrap(sentence, LONGEST_SENTENCE, break_long_words=False, break_on_hyphens=False)


def _full_stops(text: str) -> Iterator[str]:
    """Yield the sentences of a text; a full stop of an abbreviation or in "A.Smith" does not end one."""
    start = 0
    for match in _SENTENCE_END.finditer(text):
        stop = match.start()
        if text[stop] != "\n":
            stop += 1
            joined = match.end() == stop and not (stop > 2 and text[stop - 3 : stop - 1].islower())
            if joined or text.endswith(_ABBREVIATIONS, start, stop):
                continue
        yield text[start:stop]
        start = match.end()
    yield text[start:]


def _report_tokenizer() -> Any:
    """Return spaCy's English tokenizer for reports: "ill" is no "I'll", "___" one word, "mid-" two."""
    import spacy

    nlp = spacy.blank("en")
    tokenizer: Any = nlp.tokenizer
    tokenizer.rules = {}
    vocab: Any = nlp.vocab
    vocab.lex_attr_getters = {}  # attributes of new words such as shape and norm are slow and unused
    for word in _ABBREVIATIONS:
        tokenizer.add_special_case(word, [{"ORTH": word}])
    prefixes = [rule for rule in nlp.Defaults.prefixes or () if rule != "_"]
    suffixes = [rule for rule in nlp.Defaults.suffixes or () if rule != "_"] + [r"(?<=\w)[-/]"]
    tokenizer.prefix_search = spacy.util.compile_prefix_regex(prefixes).search
    tokenizer.suffix_search = spacy.util.compile_suffix_regex(suffixes).search
    return tokenizer
