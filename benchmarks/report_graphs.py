"""Quality and speed of the report parser, measured on the Open-i collection and on phantom reports.

    IGCL_DATA=DIR python benchmarks/report_graphs.py [--out TABLE.md] [--errors DIR]

Open-i's labels come from its coders' MeSH terms (`openi_gld_std14.csv`), its places and sides from the qualifiers of these
terms (`mesh_graphs.jsonl`). Intervals are 95 % bootstrap intervals over reports. Figures on phantoms are phantom figures.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from igcl_lightning.graphs.identity import graph_key
from igcl_lightning.graphs.labels import abnormal_observations, binary_labels, label_table, labels_from_graph
from igcl_lightning.graphs.lexicon import rows
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.radgraph import to_radgraph
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.graphs.statements import Statement, statements

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion")
FLOOR_WORDS = {
    "Atelectasis": "atelecta",
    "Cardiomegaly": "cardiomegaly|enlarged heart|heart is enlarged|cardiac enlargement|enlarged cardiac",
    "Consolidation": "consolidat",
    "Edema": "edema",
    "Effusion": "effusion",
}
FLOOR_CUES = re.compile(r"\b(no|not|without|free of|negative for|resolved|absence of|clear of)\b", re.IGNORECASE)
ENTITY_WORDS = {
    "Atelectasis": "atelecta|collapse",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidat",
    "Edema": "edema",
    "Effusion": "effusion",
    "Infiltration": "infiltrat",
    "Mass": "^mass",
    "Nodule": "^nodules?$",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothora",
    "Emphysema": "emphysema",
    "Fibrosis": "fibro",
    "Pleural_Thickening": "^pleural thickening",
    "Hernia": "^hernia",
}
RESAMPLES = 1000
MIMIC_REPORTS = 227_835
MIMIC_TOKENS = 100
"""Words of a report of MIMIC-CXR, assumed: findings and impression are about twice as long as in Open-i."""


class Report(NamedTuple):
    """A report of Open-i: its id, text, gold labels by name (None without any), and coded terms (None without any)."""

    uid: str
    text: str
    gold: dict[str, int] | None
    terms: list[dict] | None
    normal: bool


def read_open_i(folder: Path) -> list[Report]:
    coded = {each["uid"]: each for each in _lines(folder / "mesh_graphs.jsonl")}
    reports = []
    for record in _lines(folder / "reports.jsonl"):
        text = "\n\n".join(filter(None, (record["findings"], record["impression"])))
        terms = coded.get(record["uid"], {}).get("expected")
        normal = record["mesh_major"] == ["normal"]
        reports.append(Report(record["uid"], text, record["gold14"], terms, normal))
    return reports


def _lines(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


# Labels


def floor_labels(text: str) -> dict[str, int]:
    """Keyword, and no negation cue to its left in the sentence: the public floor."""
    found = dict.fromkeys(FIVE, 0)
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        for label, words in FLOOR_WORDS.items():
            for match in re.finditer(words, sentence, re.IGNORECASE):
                found[label] |= not FLOOR_CUES.search(sentence[: match.start()])
    return found


def entity_labels(graph: ReportGraph) -> dict[str, int]:
    """Any entity that is definitely present and has the label's word, with its modifiers and anatomy where it needs one."""
    names = [entity.name for entity in graph.entities if entity.label == "OBS-DP"]
    places = {(r.head, graph.entities[r.tail].name) for r in graph.relations if r.type == "located_at"}
    placed = [
        f"{place} {graph.entities[head].name}" for head, place in places if graph.entities[head].label == "OBS-DP"
    ]
    return {
        label: int(any(re.search(words, name) for name in [*names, *placed])) for label, words in ENTITY_WORDS.items()
    }


def label_counts(reports: Sequence[Report], predicted: Sequence[dict[str, int]], labels: Sequence[str]) -> np.ndarray:
    """Return true positives, false positives, false negatives by report and label, [N, L, 3]."""
    gold = np.array([[report.gold[label] for label in labels] for report in reports], dtype=bool)
    said = np.array([[each.get(label, 0) for label in labels] for each in predicted], dtype=bool)
    return np.stack([gold & said, ~gold & said, gold & ~said], axis=-1).astype(float)


def f1(counts: np.ndarray) -> np.ndarray:
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    return 2 * tp / np.maximum(2 * tp + fp + fn, 1)


def interval(counts: np.ndarray, value: Callable[[np.ndarray], float], seed: int = 0) -> tuple[float, float, float]:
    """Return a value of summed counts [N, ...] and its 95 % bootstrap interval over the N reports."""
    rng = np.random.default_rng(seed)
    flat = counts.reshape(len(counts), -1)
    weights = rng.multinomial(len(flat), np.full(len(flat), 1 / len(flat)), size=RESAMPLES)
    sums = (weights @ flat).reshape(RESAMPLES, *counts.shape[1:])
    low, high = np.quantile([value(each) for each in sums], [0.025, 0.975])
    return value(counts.sum(0)), low, high


# Places and sides


@dataclass
class Coding:
    """`mesh_terms.tsv`."""

    heads: dict[str, set[str]] = field(default_factory=dict)
    implied: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    places: dict[str, list[tuple[set[str], set[str]]]] = field(default_factory=dict)
    whole: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Coding:
        coding = cls()
        text = Path(__file__).with_name("mesh_terms.tsv").read_text("utf-8")
        for _, (kind, term, words, further) in rows(text, 4):
            if kind == "head":
                coding.heads[term] = set(words.split("|"))
                coding.implied[term] = set(filter(None, further.split("|")))
                continue
            wanted = [each.split("-") for each in words.split("|")]
            coding.places[term] = [(set(first.split("+")), set(without)) for first, *without in wanted]
            if further:
                coding.whole[term] = set(further.split("|"))
        return coding

    def of(self, words: Iterable[str]) -> set[str]:
        """Return the coded places and sides that words mean."""
        said = set(words)
        return {
            place for place, ways in self.places.items() if any(all_ <= said and not none & said for all_, none in ways)
        }

    def wider(self, places: set[str]) -> set[str]:
        """Return places with what they are part of."""
        more = places.union(*(self.whole.get(place, set()) for place in places))
        return more | {"bilateral"} if {"left", "right"} <= more else more

    def about(self, statement: Statement, head: str, kind: str) -> bool:
        if kind == "anatomy":
            return bool(self.heads[head] & statement.places)
        return bool(self.heads[head] & (statement.name | statement.modifiers))


def place_counts(report: Report, graph: ReportGraph, coding: Coding) -> tuple[np.ndarray, list[str]]:
    """Return of one report: places right, places said, coded places found, coded places; and what went wrong."""
    coded: dict[tuple[str, str], set[str]] = defaultdict(set)
    for term in report.terms:
        if term["head"] in coding.heads:
            coded[term["head"], term["kind"]] |= {
                place for place in (*term["anatomy"], *term["laterality"]) if place in coding.places
            }
    said = [each for each in statements(graph) if each.label in ("OBS-DP", "OBS-U")]
    counts, wrong = np.zeros(4), []
    for (head, kind), places in coded.items():
        found = coding.wider(
            set().union(
                *(
                    coding.of(each.places | each.modifiers | each.name)
                    for each in said
                    if coding.about(each, head, kind)
                )
            )
        )
        missing = places - found - coding.implied[head]
        counts[2:] += len(places - missing), len(places)
        wrong += [f"missing {place} of {head}" for place in sorted(missing)]
    for each in said:
        heads = [key for key, places in coded.items() if coding.about(each, *key) and places]
        if not heads:
            continue
        right = coding.wider(set().union(*(coded[key] | coding.implied[key[0]] for key in heads)))
        right |= {"left", "right"} if "bilateral" in right else set()
        spoken = coding.of(each.places | each.modifiers) - set().union(*(coding.implied[head] for head, _ in heads))
        bad = spoken - right
        counts[:2] += len(spoken - bad), len(spoken)
        wrong += [f"wrong {place} of {'/'.join(head for head, _ in heads)}" for place in sorted(bad)]
    return counts, wrong
