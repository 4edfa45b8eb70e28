"""Report text -> knowledge graph: the parser protocol and the parser that needs no model weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from typing import Any, Protocol

from igcl_lightning.graphs.cutting import ABBREVIATIONS, Cutter
from igcl_lightning.graphs.denied_lists import Denied
from igcl_lightning.graphs.language import is_english, is_suspect
from igcl_lightning.graphs.lexicon import load_lexicon
from igcl_lightning.graphs.schema import ReportGraph, join_graphs, without_first_word
from igcl_lightning.graphs.sentence import RULES_VERSION, read_sentence
from igcl_lightning.texts import encodable

KNOWN_WORDS = 100_000
"""Words cached by the tokenizer before it is reset, so that memory does not grow with the input."""

CACHED_SENTENCES = 16_384  # sentences cached by a parser: reports repeat them (two of three in Open-i)

LONGEST_CACHED = 400  # maximum length of cached sentences in characters; longer ones rarely repeat


class ReportGraphParser(Protocol):
    """Turns reports into graphs."""

    version: str  # recorded in a store's manifest; changes when the same text may give another graph

    def parse(self, text: str) -> ReportGraph:
        """Return the graph of one report, empty for a text that states nothing; never raises."""

    def parse_many(self, texts: Iterable[str]) -> Iterator[ReportGraph]:
        """Yield the graph of each report, in order."""


class SpacyReportParser:
    """Rules over a lexicon of chest radiology and spaCy's tokenizer, without model weights or downloads.

    Statements are parsed one by one (`graphs.sentence`) and cached.

    Args:
        any_language: also read reports that are not English (`is_english`); their graph has no entities otherwise.

    Example:
        >>> graph = SpacyReportParser().parse("Small right pleural effusion.")
        >>> [(entity.tokens, entity.label) for entity in graph.entities]
        [('Small', 'OBS-DP'), ('right', 'ANAT-DP'), ('pleural', 'ANAT-DP'), ('effusion', 'OBS-DP')]
    """

    def __init__(self, any_language: bool = False) -> None:
        self.any_language = any_language
        self._lexicon = load_lexicon()
        self._cut = Cutter(self._lexicon)
        self._tokenizer = _report_tokenizer()
        self._read = lru_cache(CACHED_SENTENCES)(self._read_sentence)
        self._deny = lru_cache(CACHED_SENTENCES // 16)(self._read_denied)
        self._read_part = lru_cache(CACHED_SENTENCES)(self._read_statement)
        self._suspect = lru_cache(CACHED_SENTENCES)(is_suspect)
        self.version = f"spacy-rules-{RULES_VERSION}-{self._lexicon.version}{'-any-language' * any_language}"

    def __reduce__(self) -> tuple[Callable[[bool], SpacyReportParser], tuple[bool]]:
        """Pickle as the process's parser, with its cache."""
        return default_parser, (self.any_language,)

    def parse(self, text: str) -> ReportGraph:
        """Return the graph over the words of any text, `ReportGraph("")` for a blank one.

        The words are those of `plain_text`. De-identification marks such as "XXXX" or "___" are not entities.
        """
        return join_graphs(self.sentences(text))

    def sentences(self, text: str) -> list[ReportGraph]:
        """Return the graphs of a report's sentences, none of them without words; `join_graphs` makes its graph."""
        sentences = list(self._cut(encodable(text)))
        graphs = [graph for graph in map(self._graph, sentences) if graph.text]
        if self.any_language or not any(map(self._is_suspect, sentences)) or is_english(text):
            return graphs
        return [ReportGraph(graph.text) for graph in graphs]

    def parse_many(self, texts: Iterable[str]) -> Iterator[ReportGraph]:
        """Yield the graph of each report, in order."""
        return map(self.parse, texts)

    def _graph(self, sentence: str) -> ReportGraph:
        short = len(sentence) <= LONGEST_CACHED
        if type(sentence) is Denied:
            return (self._deny if short else self._read_denied)(str(sentence))
        return (self._read if short else self._read_sentence)(sentence)

    def _is_suspect(self, sentence: str) -> bool:
        return (self._suspect if len(sentence) <= LONGEST_CACHED else is_suspect)(sentence)

    def _read_sentence(self, sentence: str) -> ReportGraph:
        if len(self._tokenizer.vocab) > KNOWN_WORDS:
            self._tokenizer = _report_tokenizer()
        read = self._read_statement if len(sentence) <= LONGEST_CACHED else self._read_part
        graphs = [read(statement) for statement in self._cut.statements(sentence)]
        return graphs[0] if len(graphs) == 1 else join_graphs(graph for graph in graphs if graph.text)

    def _read_denied(self, sentence: str) -> ReportGraph:
        """Return the graph of a sentence as if "no" preceded each of its statements."""
        statements = [[token.text for token in self._tokenizer(each)] for each in self._cut.statements(sentence)]
        return join_graphs(
            without_first_word(read_sentence(["no", *each], self._lexicon)) for each in statements if each
        )

    def _read_statement(self, statement: str) -> ReportGraph:
        return read_sentence([token.text for token in self._tokenizer(statement)], self._lexicon)


@cache
def default_parser(any_language: bool = False) -> SpacyReportParser:
    """Return this process's parser; building one takes longer than parsing many reports."""
    return SpacyReportParser(any_language)


def _report_tokenizer() -> Any:
    """Return spaCy's English tokenizer for reports: "ill" is no "I'll", "___" one word, "mid-" two."""
    import spacy

    nlp = spacy.blank("en")
    tokenizer: Any = nlp.tokenizer
    tokenizer.rules = {}
    vocab: Any = nlp.vocab
    vocab.lex_attr_getters = {}  # attributes of new words such as shape and norm are slow and unused
    for word in ABBREVIATIONS:
        tokenizer.add_special_case(word, [{"ORTH": word}])
    prefixes = [rule for rule in nlp.Defaults.prefixes or () if rule != "_"]
    suffixes = [rule for rule in nlp.Defaults.suffixes or () if rule != "_"] + [r"(?<=\w)[-/]"]
    tokenizer.prefix_search = spacy.util.compile_prefix_regex(prefixes).search
    tokenizer.suffix_search = spacy.util.compile_suffix_regex(suffixes).search
    return tokenizer
