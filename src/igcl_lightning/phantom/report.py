"""The report of a phantom and its exact graph, written together from marked-up templates.

`templates` holds the standard phrasing, `held_back` one that the report parser does not know, `reworded` one in
ordinary words that it was not built on, `surroundings` what is said beside the findings, `markup` the notation.

Conventions of the graph, after RadGraph (Jain et al. 2021). An entity is one word, or a fixed term such as
"endotracheal tube" or "free air". Verbs, articles, cues ("no", "is seen", "consistent with", "amount of", "in size",
"sided") are none.

1. Severity, size, texture and time modify their observation and carry its label, also when that is absent or uncertain.
2. Sides and zones are anatomy and modify the anatomy they belong to: in "right lower lobe" both modify "lobe". So do
   adjectives before an anatomical noun: cardiac silhouette, costophrenic angle, pulmonary vascular, lung base.
   "heart size", "lung volumes": the measure modifies the organ.
3. An observation is located at the last word of the anatomy directly before it (right pleural effusion: at "pleural"),
   at the side where there is no other anatomy (right pneumothorax: at "right"), at the head noun of the anatomy that
   follows it (opacity in the right lower lobe: at "lobe"), or at its subject (the heart is enlarged: at "heart").
   A device is located where it lies and where it ends; its tip modifies it.
4. In "X consistent with Y" X is suggestive_of Y, present; in "X may represent Y" and "X likely represents Y" Y is
   uncertain. "probable", "possible", "suspected", "cannot be excluded" make an observation uncertain.
5. A negation covers its whole list; anatomy stays present. What has resolved is absent. "normal", "clear", "intact",
   "sharp" and "unremarkable" are observations present at their subject; "not enlarged" is absent.
6. Two findings joined by "and" share nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.phantom.held_back import HELD_BACK
from igcl_lightning.phantom.markup import Sentence, capitalize, join, prose, read_sentence, read_template
from igcl_lightning.phantom.phrasebook import SLOTS, Phrasebook, Phrases
from igcl_lightning.phantom.reworded import REWORDED
from igcl_lightning.phantom.scene import PATHOLOGIES, Device, Finding, Scene
from igcl_lightning.phantom.surroundings import BYSTANDERS, has_rival_sides, introduce
from igcl_lightning.phantom.templates import CHANGE_WORDS, KNOWN

EMPTY_REPORTS = 1 / 60
"""Share of studies without a report."""

ONE_SECTION = 1 / 10
"""Share of reports without findings section, and of reports without impression."""

HELD_BACK_STUDIES = 0.15
"""Share of reports in held-back phrasing, where both are mixed."""

BOOKS: dict[str, Phrasebook] = {"known": KNOWN, "held_back": HELD_BACK, "reworded": REWORDED}
"""The phrasebook of each phrasing."""

PHRASINGS: tuple[str, ...] = ("mixed", *BOOKS)
"""How a report may be worded: as the parser knows it, as is held back from it, in ordinary words that it was not built
on; or mixed, which is most reports as known and some as held back."""

_SECTIONS = ("indication", "comparison", "technique", "findings", "impression")
_LABELS = {"definite": ":+", "probable": ":%", "possible": ":?"}
_ARTICLES = {"a": ("a ", "is", "has"), "some": ("", "are", "have")}
_HEAD = re.compile(r"\[([^\]:]+):[*+?-](?![^\]]*>)")
_AND = Sentence(("and",), (), ())
_STOP = Sentence((".",), (), ())
_LUNG_FINDINGS = frozenset(PATHOLOGIES) - {"Cardiomegaly"}


def write_report(
    scene: Scene, rng: np.random.Generator, *, phrasing: str = "mixed"
) -> tuple[dict[str, str], ReportGraph]:
    """Report `scene` in prose, with the graph of what was said.

    Each finding and device is said at least once, a probable or possible finding with a doubt; an absent finding may be
    denied or left unsaid. What is said of a change since the previous study is true.

    Where findings lie on both sides, each is said equally often and in words that exist on both sides: with the same
    random numbers, the scene with sides and zones exchanged gives a report of the same words.

    Args:
        scene: what the picture shows.
        rng: decides all wording.
        phrasing: one of `PHRASINGS`.

    Returns:
        The sections "indication", "comparison", "technique", "findings" and "impression", and the graph of the last
        two, in this order. Some reports are empty, some lack one of the two.

    Raises:
        ValueError: an unknown `phrasing`.
    """
    if phrasing not in PHRASINGS:
        raise ValueError(f"phrasing {phrasing!r}: expected one of {PHRASINGS}")
    empty, held_back, section = rng.random(3)
    if empty < EMPTY_REPORTS:
        return dict.fromkeys(_SECTIONS, ""), ReportGraph("")
    if phrasing == "mixed":
        phrasing = "held_back" if held_back < HELD_BACK_STUDIES else "known"
    reporter = _Reporter(scene, BOOKS[phrasing], rng)
    introduction = introduce(scene, rng)
    findings = [] if section < ONE_SECTION else reporter.findings()
    impression = [] if findings and section > 1 - ONE_SECTION else reporter.impression(alone=not findings)
    whole = join([*findings, *impression])
    sections = {**introduction, "findings": prose(findings), "impression": prose(impression)}
    return sections, ReportGraph(" ".join(whole.words), whole.entities, whole.relations)


class _Reporter:
    """Writes the two sections about one scene."""

    def __init__(self, scene: Scene, book: Phrasebook, rng: np.random.Generator) -> None:
        self.scene, self.book, self.rng = scene, book, rng
        self.present = {finding.name for finding in scene.findings}
        previous = {finding.name: finding for finding in scene.previous or ()}
        self.resolved = [finding for name, finding in previous.items() if name not in self.present]
        self.changes = {finding.name: _change(finding, scene, previous) for finding in scene.findings}
        self.rivals = has_rival_sides(scene)
        self.lobes = not (self.rivals and any(finding.zone == "middle" for finding in scene.findings))

    def findings(self) -> list[Sentence]:
        """Say every finding and device, and some of what is normal, gone or beside the point, in any order."""
        templates = [self._statement(finding) for finding in self.scene.findings]
        templates += [self._device(device) for device in self.scene.devices]
        templates += [self._resolution(finding) for finding in self.resolved if self.rng.random() < 0.6]
        silent = self.present | {finding.name for finding in self.resolved}
        if "Cardiomegaly" not in self.present and self.rng.random() < 0.5:
            templates.append(self._pick(self.book.normal_heart))
            silent.add("Cardiomegaly")
        if not self.present & _LUNG_FINDINGS and self.rng.random() < 0.6:
            templates.append(self._pick(self.book.clear_lungs))
            silent.add("Consolidation")
        templates += self._bystanders()
        templates += self._denials(silent)
        return [read_sentence(templates[place]) for place in self._order(len(templates))]

    def impression(self, *, alone: bool) -> list[Sentence]:
        """Say most findings again in short, two of them in one sentence now and then.

        Args:
            alone: there is no findings section, so that all findings and devices are said here.
        """
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
            sentences.append(capitalize(join([*said, _STOP])))
            phrases = phrases[1 + paired :]
        return sentences + [read_sentence(template) for template in devices]

    def _normal_impression(self) -> Sentence:
        book = self.book
        options = book.normal_impressions if self.scene.devices else book.normal_impressions + book.normal_chests
        return read_sentence(self._pick(options))

    def _statement(self, finding: Finding) -> str:
        """Return a sentence about a finding; a change since the previous study is mentioned mostly."""
        change = self.changes[finding.name]
        statements = _of(finding, self.book.statements)
        if change and self.rng.random() < 0.8:
            template = self._frame(self._pick(self.book.changes[change]), finding)
        elif statements and self.rng.random() < 0.35:
            template = self._fill(self._pick(statements), finding)
        else:
            template = self._frame(self._pick(self.book.frames[finding.certainty]), finding)
        return template.replace(":*", _LABELS[finding.certainty])

    def _short(self, finding: Finding) -> str:
        """Return the noun phrase of a finding for the impression."""
        change = self.changes[finding.name]
        frame = "{maybe}{core}"
        if change and self.rng.random() < 0.6:
            frame = f"{{maybe}}[{self._pick(CHANGE_WORDS[change])}:*>{{head}}] {{core}}"
        return self._frame(frame, finding).replace(":*", _LABELS[finding.certainty])

    def _resolution(self, finding: Finding) -> str:
        return self._frame(self._pick(self.book.changes["resolved"]), finding).replace(":*", ":-")

    def _frame(self, frame: str, finding: Finding) -> str:
        """Put a noun phrase about `finding` into a frame."""
        core = self._fill(self._pick(_of(finding, self.book.nouns)), finding)
        article, is_, has = "", "is", "has"
        first, _, rest = core.partition(" ")
        if first in _ARTICLES:
            (article, is_, has), core = _ARTICLES[first], rest
        maybe = self._pick(self.book.maybe[finding.certainty])
        return frame.format_map(
            {"a": article, "core": core, "head": _head(core), "is": is_, "has": has, "maybe": maybe}
        )

    def _fill(self, template: str, finding: Finding) -> str:
        """Put severity, side, place and certainty of a finding into the slots of a noun phrase or statement."""
        place, at = self._place(finding) if "{place}" in template else ("", "")
        words = {
            slot: self._pick(words[finding.severity]) for slot, words in SLOTS.items() if f"{{{slot}}}" in template
        }
        doubts = {"hedge": self.book.hedge, "suggests": self.book.suggests, "suggest": self.book.suggest}
        sure = {
            slot: self._pick(options[finding.certainty])
            for slot, options in doubts.items()
            if f"{{{slot}}}" in template
        }
        return template.format(side=finding.side, place=place, at=at, **words, **sure)

    def _place(self, finding: Finding) -> tuple[str, str]:
        """Return the markup of where the finding lies, and its head noun. There is no left middle lobe."""
        lobes = self.lobes and (finding.side, finding.zone) != ("left", "middle")
        noun = self._pick(("lobe", "lobe", "zone", "lung") if lobes else ("zone", "lung"))
        zone = "mid" if finding.zone == "middle" and noun != "lobe" else finding.zone
        return f"[{finding.side}:A>{noun}] [{zone}:A>{noun}] [{noun}:A]", noun

    def _device(self, device: Device) -> str:
        """Return a sentence about a device; it names no side where findings are told apart by theirs."""
        key = f"{device.kind}/side" if device.side and not self.rivals else device.kind
        return self._pick(self.book.devices[key]).format(side=device.side)

    def _bystanders(self) -> list[str]:
        """Return a sentence about what no finding touches from some of the groups that are true."""
        return [
            self._pick(options) for is_true, options in BYSTANDERS if is_true(self.scene) and self.rng.random() < 0.25
        ]

    def _denials(self, silent: set[str]) -> list[str]:
        """Deny a random part of the other findings, in lists of up to three."""
        absent = [
            self._pick(self.book.denied[name])
            for name in PATHOLOGIES
            if name not in silent and self.rng.random() < 0.45
        ]
        absent = [absent[place] for place in self._order(len(absent))]
        templates = []
        while absent:
            count = 1 + int(self.rng.random() * 3)
            head, absent = absent[:count], absent[count:]
            listed = " , ".join(head[:-1]) + " or " + head[-1] if len(head) > 1 else head[0]
            frames = self.book.denials if len(head) > 1 else self.book.denials + self.book.denials_of_one
            templates.append(self._pick(frames).format(denied=listed))
        return templates

    def _pick(self, options: Phrases) -> str:
        return options[int(self.rng.random() * len(options))]

    def _order(self, count: int) -> list[int]:
        order: list[int] = self.rng.random(count).argsort().tolist()
        return order


def _change(finding: Finding, scene: Scene, previous: dict[str, Finding]) -> str:
    """Return what a reporter may say of a finding beside the previous study; "" where there is nothing to compare."""
    if scene.previous is None:
        return ""
    before = previous.get(finding.name)
    if before is None:
        return "new"
    if (before.side, before.zone) != (finding.side, finding.zone):
        return ""
    return ("unchanged", "increased", "decreased")[int(np.sign(finding.severity - before.severity))]


def _of(finding: Finding, table: Mapping[str, Phrases]) -> Phrases:
    """Return the entries about a finding in a table of a phrasebook."""
    return next((table[key] for key in _keys(finding) if key in table), ())


@cache
def _keys(finding: Finding) -> tuple[str, ...]:
    """Return the keys of a finding in the tables of a phrasebook, the most specific first."""
    name = finding.name
    if name == "Lung Lesion":
        return (f"{name}/{'mass' if finding.severity == 2 else 'nodule'}",)
    if finding.side == "bilateral":
        return (f"{name}/both", name)
    severe = (f"{name}/severe",) if finding.severity == 2 else ()
    return (*severe, f"{name}/one", name)


@cache
def _head(core: str) -> str:
    """Return the observation of a noun phrase: the first that modifies nothing."""
    return next(match[1] for match in _HEAD.finditer(core))
