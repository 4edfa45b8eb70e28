"""The report of a phantom and its exact graph, both written from marked-up templates.

`phrases/` holds the templates, `phrasebook` loads them, `markup` reads their notation.

Conventions of the graph, after RadGraph (Jain et al. 2021). An entity is one word, or a fixed term such as
"endotracheal tube" or "free air". Verbs, articles and cues ("no", "is seen", "consistent with", "amount of", "area of",
"degree of", "in size", "sided") are not entities.

1. Severity, size, texture, time and nouns of change modify their observation and carry its label, also when that is
   absent or uncertain.
2. Sides and zones are anatomy and modify the anatomy they belong to: in "right lower lobe" both modify "lobe". So do
   adjectives before an anatomical noun: cardiac silhouette, costophrenic angle, pulmonary vascular, lung base.
   "heart size", "lung volumes": the measure modifies the organ.
3. An observation is located at the last word of the anatomy directly before it (right pleural effusion: at "pleural"),
   at the side if there is no other anatomy (right pneumothorax: at "right"), at the head noun of the anatomy that
   follows it (opacity in the right lower lobe: at "lobe"), or at its subject (the heart is enlarged: at "heart").
   A device is located where it lies and where it ends; its tip modifies it.
4. In "X consistent with Y", X is suggestive_of Y and Y is present; in "X may represent Y" and "X likely represents Y",
   Y is uncertain. "probable", "possible", "suspected", "cannot be excluded" make an observation uncertain.
5. A negation covers its whole list; anatomy stays present. A resolved observation is absent. "normal", "clear",
   "intact", "sharp" and "unremarkable" are observations present at their subject; "not enlarged" is absent.
6. Two findings joined by "and" share nothing.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from igcl_lightning.graphs.schema import ReportGraph, join_graphs
from igcl_lightning.phantom.markup import capitalize, prose, read_sentence, read_template
from igcl_lightning.phantom.pathologies import PATHOLOGIES
from igcl_lightning.phantom.phrasebook import (
    SEVERITIES,
    WORD_SLOTS,
    Phrasebook,
    Phrases,
    load_phrasebook,
    phrases_about,
)
from igcl_lightning.phantom.scene import CIRCUMSTANCES, Device, Finding, Scene

EMPTY_REPORTS = 1 / 60  # share of studies with an empty report
ONE_SECTION = 1 / 10  # share of reports without a findings section, and of reports without an impression
HELD_BACK_STUDIES = 0.15  # share of reports in the phrasing "held_back" under "mixed"

_SECTIONS = ("indication", "comparison", "technique", "findings", "impression")
_LABELS = {"definite": ":+", "probable": ":%", "possible": ":?"}
_ARTICLES = {"a": ("a ", "is", "has"), "some": ("", "are", "have")}
_HEAD = re.compile(r"\[([^\]:]+):[*+?-](?![^\]]*>)")
_AND = ReportGraph("and")
_STOP = ReportGraph(".")


def write_report(
    scene: Scene, rng: np.random.Generator, *, phrasing: str = "mixed"
) -> tuple[dict[str, str], ReportGraph]:
    """Write the report of `scene`, with its exact graph.

    Each finding and device is mentioned at least once, and probable or possible findings are hedged; absent findings
    are denied or left out. All changes since the previous study that the report mentions are true.

    If findings lie on both sides, each is mentioned equally often and in words that exist for both sides: with the same
    random numbers, the scene with sides and zones exchanged gives a report with the same words.

    Args:
        scene: contents of the image.
        rng: random generator of the wording.
        phrasing: one of `PHRASINGS`.

    Returns:
        The sections "indication", "comparison", "technique", "findings" and "impression", and the graph of the last
        two, in this order. Some reports are empty, and some lack one of the two.
    """
    empty, held_back, section = rng.random(3)
    if empty < EMPTY_REPORTS:
        return dict.fromkeys(_SECTIONS, ""), ReportGraph("")
    if phrasing == "mixed":
        phrasing = "held_back" if held_back < HELD_BACK_STUDIES else "known"
    reporter = _Reporter(scene, load_phrasebook(phrasing), rng)
    introduction = reporter.introduction()
    findings = [] if section < ONE_SECTION else reporter.findings()
    impression = [] if findings and section > 1 - ONE_SECTION else reporter.impression(alone=not findings)
    sections = {**introduction, "findings": prose(findings), "impression": prose(impression)}
    return sections, join_graphs([*findings, *impression])


class _Reporter:
    """Writes the sections about one scene."""

    def __init__(self, scene: Scene, book: Phrasebook, rng: np.random.Generator) -> None:
        self.scene, self.book, self.rng = scene, book, rng
        self.present = {finding.name for finding in scene.findings}
        previous = {finding.name: finding for finding in scene.previous or ()}
        self.resolved = [finding for name, finding in previous.items() if name not in self.present]
        self.changes = {finding.name: _change(finding, scene, previous) for finding in scene.findings}
        self.rivals = scene.has_rival_sides
        self.lobes = not (self.rivals and any(finding.zone == "middle" for finding in scene.findings))

    def introduction(self) -> dict[str, str]:
        """Return the sections "indication", "comparison" and "technique"."""
        scene, patient = self.scene, self.scene.patient
        symptom, prior = self._draw("symptom"), self._draw("prior")
        return {
            "indication": f"{patient.age:.0f}-year-old {'woman' if patient.sex == 'F' else 'man'} with {symptom}.",
            "comparison": prior if scene.ordinal else "None.",
            "technique": self._draw("technique", f"{scene.view} lateral" if scene.lateral else scene.view),
        }

    def findings(self) -> list[ReportGraph]:
        """Mention every finding and device, and some of what is normal, resolved or incidental, in random order."""
        templates = [self._statement(finding) for finding in self.scene.findings]
        templates += [self._device(device) for device in self.scene.devices]
        templates += [
            self._frame(self._draw("change", "resolved"), finding).replace(":*", ":-")
            for finding in self.resolved
            if self.rng.random() < 0.6
        ]
        silent = self.present | {finding.name for finding in self.resolved}
        if "Cardiomegaly" not in self.present and self.rng.random() < 0.5:
            templates.append(self._draw("normal heart"))
            silent.add("Cardiomegaly")
        if not any(PATHOLOGIES[name].in_lungs for name in self.present) and self.rng.random() < 0.6:
            templates.append(self._draw("clear lungs"))
            silent.add("Consolidation")
        for name, holds in CIRCUMSTANCES.items():
            if holds(self.scene) and self.rng.random() < 0.25:
                templates.append(self._draw("aside", name))
        templates += self._denials(silent)
        return [read_sentence(templates[place]) for place in self._order(len(templates))]

    def impression(self, *, alone: bool) -> list[ReportGraph]:
        """Repeat most findings in short; `alone`, without a findings section, mention all findings and devices."""
        weighty = [
            finding
            for finding in self.scene.findings
            if self.rng.random() < 0.7 or finding.severity or alone or self.rivals
        ]
        devices = [self._device(device) for device in self.scene.devices] if alone else []
        phrases = [read_template(self._short(finding)) for finding in weighty or self.scene.findings[:1]]
        phrases = [phrases[place] for place in self._order(len(phrases))]
        sentences = [] if phrases else [self._normal_impression()]
        while phrases:
            paired = len(phrases) > 1 and self.rng.random() < 0.4
            said = (phrases[0], _AND, phrases[1]) if paired else (phrases[0],)
            sentences.append(capitalize(join_graphs([*said, _STOP])))
            phrases = phrases[1 + paired :]
        return sentences + [read_sentence(template) for template in devices]

    def _normal_impression(self) -> ReportGraph:
        options = self.book["normal impression"][""]
        return read_sentence(self._pick(options if self.scene.devices else options + self.book["normal chest"][""]))

    def _statement(self, finding: Finding) -> str:
        """Return a sentence about a finding; most mention a change since the previous study."""
        change = self.changes[finding.name]
        statements = phrases_about(finding, self.book["statement"])
        if change and self.rng.random() < 0.8:
            template = self._frame(self._draw("change", change), finding)
        elif statements and self.rng.random() < 0.35:
            template = self._fill(self._pick(statements), finding)
        else:
            template = self._frame(self._draw("frame", finding.certainty), finding)
        return template.replace(":*", _LABELS[finding.certainty])

    def _short(self, finding: Finding) -> str:
        """Return the noun phrase of a finding for the impression."""
        change = self.changes[finding.name]
        frame = "{maybe}{core}"
        if change and self.rng.random() < 0.6:
            frame = f"{{maybe}}[{self._draw('change adjective', change)}:*>{{head}}] {{core}}"
        return self._frame(frame, finding).replace(":*", _LABELS[finding.certainty])

    def _frame(self, frame: str, finding: Finding) -> str:
        """Insert a noun phrase about `finding` into a frame."""
        core = self._fill(self._pick(phrases_about(finding, self.book["noun"])), finding)
        article, is_, has = "", "is", "has"
        first, _, rest = core.partition(" ")
        if first in _ARTICLES:
            (article, is_, has), core = _ARTICLES[first], rest
        maybe = self._draw("maybe", finding.certainty)
        return frame.format_map(
            {"a": article, "core": core, "head": _head(core), "is": is_, "has": has, "maybe": maybe}
        )

    def _fill(self, template: str, finding: Finding) -> str:
        """Fill the slots of a noun phrase or statement with severity, side, place and certainty of a finding."""
        place, at = self._place(finding) if "{place}" in template else ("", "")
        words = {
            slot: self._draw(slot, SEVERITIES[finding.severity] if subjects is SEVERITIES else finding.certainty)
            for slot, subjects in WORD_SLOTS.items()
            if f"{{{slot}}}" in template
        }
        return template.format(side=finding.side, place=place, at=at, **words)

    def _place(self, finding: Finding) -> tuple[str, str]:
        """Return the marked-up zone of a finding and its head noun. There is no left middle lobe."""
        lobes = self.lobes and (finding.side, finding.zone) != ("left", "middle")
        noun = self._pick(("lobe", "lobe", "zone", "lung") if lobes else ("zone", "lung"))
        zone = "mid" if finding.zone == "middle" and noun != "lobe" else finding.zone
        return f"[{finding.side}:A>{noun}] [{zone}:A>{noun}] [{noun}:A]", noun

    def _device(self, device: Device) -> str:
        """Return a sentence about a device; without a side if the findings differ by side."""
        subject = f"{device.kind}/side" if device.side and not self.rivals else device.kind
        return self._draw("device", subject).format(side=device.side)

    def _denials(self, silent: set[str]) -> list[str]:
        """Deny a random part of the absent findings, in lists of up to three."""
        absent = [self._draw("denied", name) for name in PATHOLOGIES if name not in silent and self.rng.random() < 0.45]
        absent = [absent[place] for place in self._order(len(absent))]
        templates = []
        while absent:
            count = 1 + int(self.rng.random() * 3)
            head, absent = absent[:count], absent[count:]
            listed = " , ".join(head[:-1]) + " or " + head[-1] if len(head) > 1 else head[0]
            single = () if len(head) > 1 else self.book["single denial"][""]
            templates.append(self._pick(self.book["denial"][""] + single).format(denied=listed))
        return templates

    def _draw(self, kind: str, subject: str = "") -> str:
        return self._pick(self.book[kind][subject])

    def _pick(self, options: Phrases) -> str:
        return options[int(self.rng.random() * len(options))]

    def _order(self, count: int) -> list[int]:
        order: list[int] = self.rng.random(count).argsort().tolist()
        return order


def _change(finding: Finding, scene: Scene, previous: dict[str, Finding]) -> str:
    """Return the change since the previous study that a report may mention, "" if there is nothing to compare."""
    if scene.previous is None:
        return ""
    before = previous.get(finding.name)
    if before is None:
        return "new"
    if (before.side, before.zone) != (finding.side, finding.zone):
        return ""
    return ("unchanged", "increased", "decreased")[int(np.sign(finding.severity - before.severity))]


@cache
def _head(core: str) -> str:
    """Return the observation of a noun phrase: the first entity that modifies nothing."""
    return next(match[1] for match in _HEAD.finditer(core))
