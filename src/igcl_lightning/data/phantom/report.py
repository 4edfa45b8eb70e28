"""The report of a phantom and its exact graph, written together from one template.

A template is a sentence whose entities stand in brackets: `[small:+>effusion]` is the word "small", an observation that
is present, which modifies the word "effusion" of the same sentence. Labels: `A` anatomy, `+` observation present, `?`
uncertain, `-` absent. Relations: `>` modify, `@` located_at, `~` suggestive_of.

Conventions, after RadGraph (Jain et al. 2021). Each entity is one word. Verbs, articles, cues ("no", "is seen",
"consistent with", "amount of", "in size") are none.

1. Severity, size, texture and time modify their observation and carry its label, also when that is absent or uncertain.
2. Sides and zones are anatomy and modify the anatomy they belong to: in "right lower lobe" both modify "lobe". So do
   adjectives before an anatomical noun: cardiac silhouette, costophrenic angle, pulmonary vascular, lung base.
   "heart size": size modifies heart.
3. An observation is located at the last word of the anatomy directly before it (right pleural effusion: at "pleural"),
   at the side where there is no other anatomy (right pneumothorax: at "right"), at the head noun of the anatomy that
   follows it (opacity in the right lower lobe: at "lobe"), or at its subject (the heart is enlarged: at "heart").
4. In "X consistent with Y" X is suggestive_of Y, present; in "X concerning for Y" Y is uncertain.
5. A negation covers its whole list; anatomy stays present. "normal", "clear", "intact", "sharp" and "unremarkable" are
   observations present at their subject; "not enlarged" is absent.
6. Two findings joined by "and" share nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from igcl_lightning.data.phantom.scene import FINDINGS, Finding, Scene
from igcl_lightning.data.phantom.templates import (
    BYSTANDERS,
    CLEAR_LUNGS,
    DENIALS,
    DENIED,
    NORMAL_HEART,
    NORMAL_IMPRESSIONS,
    PHRASES,
    RAISED_DIAPHRAGM,
    SENTENCES,
    SHARP_ANGLES,
    SLOTS,
)
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

EMPTY_REPORTS = 1 / 60
"""Share of studies without a report."""

_LABELS = {"A": "ANAT-DP", "+": "OBS-DP", "?": "OBS-U", "-": "OBS-DA"}
_RELATIONS = {">": "modify", "@": "located_at", "~": "suggestive_of"}
_PART = re.compile(r"\[(?P<word>[^\[\]:]+):(?P<label>[A+?-])(?P<relations>[^\]]*)\]|(?P<plain>\S+)")
_RELATION = re.compile(r"([>@~])([^\s>@~]+)")
_LUNG_FINDINGS = frozenset(FINDINGS) - {"Cardiomegaly"}


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words and the graph over them; entity spans and relations count from the sentence's own start."""

    words: tuple[str, ...]
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]


def write_report(scene: Scene, rng: np.random.Generator) -> tuple[dict[str, str], ReportGraph]:
    """Report `scene` in prose, with the graph of what was said.

    Each finding is said at least once; an absent one may be denied or left unsaid.

    Returns:
        The sections "findings" and "impression", and the graph of both in this order. Some reports are empty.
    """
    if rng.random() < EMPTY_REPORTS:
        return {"findings": "", "impression": ""}, ReportGraph("")
    findings = _findings_section(scene, rng)
    impression = _impression(scene, rng)
    sections = {"findings": prose(findings), "impression": prose(impression)}
    whole = join([*findings, *impression])
    return sections, ReportGraph(" ".join(whole.words), whole.entities, whole.relations)


@lru_cache(maxsize=4096)
def read_template(template: str) -> Sentence:
    """Read a filled template.

    Raises:
        ValueError: a relation names a word that is no entity of the template.
    """
    parts = list(_PART.finditer(template))
    words = [part["word"] or part["plain"] for part in parts]
    places = [place for place, part in enumerate(parts) if part["word"]]
    entities = tuple(Entity(words[place], _LABELS[parts[place]["label"]], place, place) for place in places)
    relations = []
    for head, place in enumerate(places):
        for sign, target in _RELATION.findall(parts[place]["relations"]):
            tails = [tail for tail, entity in enumerate(entities) if entity.tokens == target and tail != head]
            if not tails:
                raise ValueError(f"template {template!r}: {words[place]!r} refers to {target!r}, which is no entity")
            relations.append(Relation(head, _RELATIONS[sign], min(tails, key=lambda tail: abs(places[tail] - place))))
    relations.sort(key=lambda relation: (relation.head, relation.tail, relation.type))
    return Sentence(tuple(words), entities, tuple(relations))


def join(sentences: Sequence[Sentence]) -> Sentence:
    """Put `sentences` in a row; no relation crosses from one into another."""
    words: list[str] = []
    entities: list[Entity] = []
    relations: list[Relation] = []
    for sentence in sentences:
        word, entity = len(words), len(entities)
        words.extend(sentence.words)
        entities.extend(Entity(e.tokens, e.label, e.start + word, e.end + word) for e in sentence.entities)
        relations.extend(Relation(r.head + entity, r.type, r.tail + entity) for r in sentence.relations)
    return Sentence(tuple(words), tuple(entities), tuple(relations))


def capitalize(sentence: Sentence) -> Sentence:
    """Return `sentence` with a capital first letter, in its first entity too."""
    first, *rest = sentence.words
    first = first[0].upper() + first[1:]
    entities = sentence.entities
    if entities and entities[0].start == 0:
        entities = (replace(entities[0], tokens=first), *entities[1:])
    return replace(sentence, words=(first, *rest), entities=entities)


def prose(sentences: Sequence[Sentence]) -> str:
    """Return `sentences` as one would type them."""
    text = " ".join(" ".join(sentence.words) for sentence in sentences)
    return text.replace(" .", ".").replace(" ,", ",")


def _findings_section(scene: Scene, rng: np.random.Generator) -> list[Sentence]:
    """Say every finding, and some of what is normal, in any order."""
    templates = [_fill(_pick(_of(finding, SENTENCES), rng), finding, rng) for finding in scene.findings]
    collapse = scene.finding("Atelectasis")
    if collapse and collapse.severity == 2 and collapse.side != "bilateral" and rng.random() < 0.5:
        templates.append(RAISED_DIAPHRAGM.format(side=collapse.side))
    present = {finding.name for finding in scene.findings}
    if "Cardiomegaly" not in present and rng.random() < 0.5:
        templates.append(_pick(NORMAL_HEART, rng))
    if not present & _LUNG_FINDINGS and rng.random() < 0.6:
        templates.append(_pick(CLEAR_LUNGS, rng))
    if "Pleural Effusion" not in present and rng.random() < 0.12:
        templates.append(_pick(SHARP_ANGLES, rng))
    if rng.random() < 0.35:
        templates.append(_pick(BYSTANDERS, rng))
    templates.extend(_denials(present, rng))
    return [capitalize(read_template(templates[place])) for place in rng.permutation(len(templates))]


def _denials(present: set[str], rng: np.random.Generator) -> list[str]:
    """Deny a random part of what is absent, in lists of up to three."""
    absent = [_pick(DENIED[name], rng) for name in FINDINGS if name not in present and rng.random() < 0.45]
    absent = [absent[place] for place in rng.permutation(len(absent))]
    templates = []
    while absent:
        count = 1 + int(rng.integers(3))
        head, absent = absent[:count], absent[count:]
        listed = " , ".join(head[:-1]) + " or " + head[-1] if len(head) > 1 else head[0]
        templates.append(_pick(DENIALS, rng).format(denied=listed))
    return templates


def _impression(scene: Scene, rng: np.random.Generator) -> list[Sentence]:
    """Say most findings again in short, two of them in one sentence now and then."""
    if not scene.findings:
        return [capitalize(read_template(_pick(NORMAL_IMPRESSIONS, rng)))]
    weighty = [finding for finding in scene.findings if rng.random() < (0.7, 0.9, 1.0)[finding.severity]]
    filled = [_fill(_pick(_of(finding, PHRASES), rng), finding, rng) for finding in weighty or scene.findings[:1]]
    phrases = [read_template(filled[place]) for place in rng.permutation(len(filled))]
    sentences = []
    while phrases:
        paired = len(phrases) > 1 and rng.random() < 0.4
        said = (phrases[0], _AND, phrases[1]) if paired else (phrases[0],)
        sentences.append(capitalize(join([*said, _STOP])))
        phrases = phrases[1 + paired :]
    return sentences


_AND = Sentence(("and",), (), ())
_STOP = Sentence((".",), (), ())


def _of(finding: Finding, table: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    if finding.name in table:
        return table[finding.name]
    return table[f"{finding.name}/{'both' if finding.side == 'bilateral' else 'one'}"]


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _fill(template: str, finding: Finding, rng: np.random.Generator) -> str:
    """Put the finding's severity, side and place into the slots of `template`."""
    values = {slot: _pick(words[finding.severity], rng) for slot, words in SLOTS.items() if f"{{{slot}}}" in template}
    place, at = _place(finding, rng) if "{place}" in template else ("", "")
    return template.format(side=finding.side, place=place, at=at, **values)


def _place(finding: Finding, rng: np.random.Generator) -> tuple[str, str]:
    """Return the markup of where the finding lies, and its head noun."""
    no_such_lobe = finding.side == "left" and finding.zone == "middle"
    noun = _pick(("zone", "lung") if no_such_lobe else ("lobe", "lobe", "zone", "lung"), rng)
    zone = "mid" if finding.zone == "middle" and noun != "lobe" else finding.zone
    return f"[{finding.side}:A>{noun}] [{zone}:A>{noun}] [{noun}:A]", noun
