"""Report graph -> labels: the 14 observations of CheXpert, or the 14 findings of ChestX-ray14.

`lexicon/findings.tsv` defines findings, `lexicon/labels.tsv` the labels of each data set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple

from igcl_lightning.graphs.lexicon import alternatives, packaged_text, rows
from igcl_lightning.graphs.schema import HEDGE_ID, ReportGraph
from igcl_lightning.graphs.statements import Meanings, Statement, statements

SCHEMES = ("chexpert", "nih")

ABNORMAL_KINDS = frozenset({"finding", "appearance", "sign", "state", "generic"})
"""Kinds of observations, except normal states, devices and changes."""

NO_FINDING = "No Finding"
SKELETAL = "skeletal"

NORMAL = frozenset({"normal", "unremarkable", "clear", "symmetric", "nonobstructive"})
"""Modifiers that make an observation normal ("pulmonary markings are normal")."""


class Rule(NamedTuple):
    """A line of `findings.tsv`."""

    finding: str
    present: bool
    words: frozenset[str]
    places: frozenset[str]
    without: frozenset[str]

    def holds(self, said: Meanings, places: Meanings, kind: str) -> bool:
        """Return whether a statement with a name and modifiers, places and a kind is about the rule's finding."""
        around = said | places
        named = bool(self.words & said) or f"@{kind}" in self.words
        return named and (not self.places or bool(self.places & around)) and not self.without & around


class Label(NamedTuple):
    """A line of `labels.tsv`."""

    name: str  # name of the label in the scheme
    findings: frozenset[str]  # the findings that it covers
    believed: frozenset[str]  # hedges that count as present in binary labels


class Verdict(NamedTuple):
    """Value of a label: 1.0 present, -1.0 uncertain, 0.0 absent; and the hedge of an uncertain one."""

    value: float
    hedge: str = ""

    def rank(self) -> tuple[float, float, int]:
        """Return a key that grows with the strength of the verdict."""
        return abs(self.value), self.value, HEDGE_ID[self.hedge]


def labels_from_graph(graph: ReportGraph, scheme: str = "chexpert") -> dict[str, float | None]:
    """Return the labels of a report from its graph.

    Args:
        graph: graph from the parser or from RadGraph.
        scheme: "chexpert", the 14 observations of CheXpert (Irvin et al., AAAI 2019), or "nih", the 14 of ChestX-ray14
            (Wang et al., CVPR 2017).

    Returns:
        1.0 present, 0.0 absent, -1.0 uncertain, None not mentioned, in the scheme's order. Present overrides uncertain,
        and uncertain overrides absent; an unlikely finding counts as absent. "No Finding" is 1.0 if a graph with
        entities has no abnormal finding that is present or uncertain, devices aside, and None otherwise.

    Raises:
        ValueError: the scheme is unknown.
    """
    return {name: None if verdict is None else verdict.value for name, verdict in _verdicts(graph, scheme).items()}


def binary_labels(graph: ReportGraph, scheme: str = "chexpert") -> dict[str, int]:
    """Return the labels of a report as 1 or 0: 0 if not mentioned, by `labels.tsv` if uncertain.

    Raises:
        ValueError: the scheme is unknown.
    """
    positive = {}
    verdicts = _verdicts(graph, scheme)
    for label in label_table()[scheme]:
        verdict = verdicts[label.name]
        positive[label.name] = int(verdict is not None and (verdict.value == 1 or verdict.hedge in label.believed))
    return positive


def _verdicts(graph: ReportGraph, scheme: str) -> dict[str, Verdict | None]:
    """Return the strongest verdict on each label, None for one that is not mentioned."""
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r}, expected one of {SCHEMES}")
    said = statements(graph)
    found: dict[str, list[Verdict]] = defaultdict(list)
    for statement in said:
        for finding, present in _findings(statement):
            if present or statement.label != "OBS-DA":
                found[finding].append(_verdict(statement) if present else Verdict(0.0))
    verdicts: dict[str, Verdict | None] = {}
    for label in label_table()[scheme]:
        mentions = chain.from_iterable(found[finding] for finding in label.findings)
        verdicts[label.name] = max(mentions, key=Verdict.rank, default=None)
    if NO_FINDING in verdicts:
        normal = bool(said) and not any(map(_is_unhealthy, said))
        verdicts[NO_FINDING] = Verdict(1.0) if normal else None
    return verdicts


def _is_unhealthy(statement: Statement) -> bool:
    """Return whether a statement is abnormal and not denied, or denies a normal state ("not clear")."""
    if is_abnormal(statement):
        return _verdict(statement).value != 0
    return statement.label == "OBS-DA" and statement.kind == "normal"


def is_abnormal(statement: Statement) -> bool:
    """Return whether a statement is about an abnormality, not a normal state, device or change."""
    return not NORMAL & statement.modifiers and (not statement.kind or statement.kind in ABNORMAL_KINDS)


def abnormal_observations(graph: ReportGraph, *, skeleton: bool = True) -> list[str]:
    """Return the tokens of the abnormal observations that are definitely present.

    Args:
        graph: graph from the parser or from RadGraph.
        skeleton: whether bones and joints count; reporters and coders ignore them in normal chests.
    """
    return [
        graph.entities[each.entity].tokens
        for each in statements(graph)
        if each.label == "OBS-DP" and is_abnormal(each) and (skeleton or SKELETAL not in dict(_findings(each)))
    ]


def _verdict(statement: Statement) -> Verdict:
    if statement.label in ("OBS-DP", "OBS-M"):
        return Verdict(1.0)
    if statement.label == "OBS-DA" or statement.hedge == "unlikely":
        return Verdict(0.0)
    return Verdict(-1.0, statement.hedge)


def _findings(statement: Statement) -> Sequence[tuple[str, bool]]:
    """Return the findings of a statement, and whether it affirms their presence."""
    return _named_findings(statement.name | statement.modifiers, statement.places, statement.kind)


@lru_cache(16_384)
def _named_findings(said: Meanings, places: Meanings, kind: str) -> Sequence[tuple[str, bool]]:
    return [(rule.finding, rule.present) for rule in finding_rules() if rule.holds(said, places, kind)]


@cache
def finding_rules() -> Sequence[Rule]:
    """Return the lines of `findings.tsv`."""
    return [
        Rule(finding, sign == "+", alternatives(words), alternatives(places), alternatives(without))
        for _, (finding, sign, words, places, without) in rows("findings", packaged_text("findings"), 5)
    ]


@cache
def label_table() -> dict[str, list[Label]]:
    """Return the labels of each scheme."""
    table: dict[str, list[Label]] = {scheme: [] for scheme in SCHEMES}
    for _, (scheme, name, findings, believed) in rows("labels", packaged_text("labels"), 4):
        table[scheme].append(Label(name, alternatives(findings), alternatives(believed)))
    return table
