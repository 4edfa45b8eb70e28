"""The course of a patient from study to study: findings that stay, change, appear and resolve, and devices."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.pathologies import PATHOLOGIES, SCENARIOS, ZONES
from igcl_lightning.phantom.patient import Patient, Stream, generator
from igcl_lightning.phantom.scene import CERTAINTIES, Device, Finding

_NAMES = tuple(PATHOLOGIES)
_CHANCES = tuple(zip(*(row.chances for row in PATHOLOGIES.values()), strict=True))
"""Probabilities of all pathologies in each scenario."""


@lru_cache(maxsize=64)
def study_findings(index: int, ordinal: int, seed: int) -> tuple[Finding, ...]:
    """Return the findings of study `index`, the patient's study number `ordinal`; they may follow the previous one."""
    rng = generator(Stream.FINDINGS, index, seed)
    if ordinal and rng.random() < difficulty.FOLLOW_UP:
        return follow_up(study_findings(index - 1, ordinal - 1, seed), rng)
    return draw_findings(rng)


def draw_findings(rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw a scenario and, from it, which findings are present, where and how severe."""
    present = rng.random(len(_NAMES)) < _CHANCES[pick(tuple(SCENARIOS.values()), rng)]
    findings = [
        draw_finding(_NAMES[place], pick(difficulty.SEVERITY_WEIGHTS, rng), rng) for place in np.flatnonzero(present)
    ]
    return _settle(findings)


def draw_finding(name: str, severity: int, rng: np.random.Generator) -> Finding:
    """Draw the place of a finding and the certainty of the reporter."""
    row = PATHOLOGIES[name]
    side = "right" if rng.random() < 0.5 else "left"
    if rng.random() < row.bilateral:
        side = "bilateral"
    zone = ZONES[pick(row.zones, rng)] if row.zones else ""
    return Finding(name, severity, side, zone, draw_certainty(severity, rng))


def draw_certainty(severity: int, rng: np.random.Generator) -> str:
    """Draw the certainty of the reporter: mild findings are hedged more often."""
    return CERTAINTIES[pick(difficulty.CERTAINTY_WEIGHTS[severity], rng)]


def follow_up(previous: Sequence[Finding], rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw the findings of the next study: most of `previous`, a little better or worse, and a few new ones."""
    findings = []
    for finding in previous:
        severity = int(np.clip(finding.severity + pick(difficulty.CHANGE_WEIGHTS, rng) - 1, 0, 2))
        later = replace(finding, severity=severity, certainty=draw_certainty(severity, rng))
        if rng.random() < difficulty.PERSISTENCE:
            findings.append(later)
    kept = {finding.name for finding in findings}
    fresh = [finding for finding in draw_findings(rng) if finding.name not in kept]
    return _settle([*findings, *(finding for finding in fresh if rng.random() < difficulty.NEW_FINDING)])


def draw_view(findings: Iterable[Finding], rng: np.random.Generator) -> tuple[str, bool]:
    """Draw the view of the frontal image, and whether there is a lateral image."""
    chance = difficulty.AP_CHANCE + sum(PATHOLOGIES[finding.name].ap_chance for finding in findings)
    view = "AP" if rng.random() < chance else "PA"
    return view, bool(rng.random() < difficulty.LATERAL_SHARE) and view == "PA"


def draw_devices(
    patient: Patient, findings: Iterable[Finding], view: str, rng: np.random.Generator
) -> tuple[Device, ...]:
    """Draw the devices of a study: the patient's implants, and lines and tubes, with more for patients in bed."""
    devices = []
    chances = rng.random(5).tolist()
    intubated = view == "AP" and chances[0] < difficulty.ENDOTRACHEAL_TUBE
    if intubated:
        devices.append(Device("endotracheal tube"))
    if view == "AP" and chances[1] < difficulty.NASOGASTRIC_TUBE[intubated]:
        devices.append(Device("nasogastric tube"))
    if chances[2] < difficulty.CATHETER[view]:
        devices.append(Device("central venous catheter", "right" if chances[3] < difficulty.CATHETER_RIGHT else "left"))
    if patient.pacemaker:
        devices.append(Device("pacemaker", patient.pacemaker))
    if patient.sternotomy:
        devices.append(Device("sternotomy wires"))
    drainable = [finding for finding in findings if finding.severity and finding.side != "bilateral"]
    drained = max(drainable, key=lambda finding: PATHOLOGIES[finding.name].chest_tube, default=None)
    if drained and chances[4] < PATHOLOGIES[drained.name].chest_tube:
        devices.append(Device("chest tube", drained.side))
    return tuple(devices)


def pick(weights: Sequence[float], rng: np.random.Generator) -> int:
    """Draw an index with probabilities in proportion to `weights`; much faster than `Generator.choice`."""
    ends = list(accumulate(weights))
    return bisect_right(ends, float(rng.random()) * ends[-1])


def _settle(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings; one per zone and side, and no severe effusion over a lesion below the upper zone."""
    placed: list[Finding] = []
    for finding in findings:
        crowded = any((other.side, other.zone) == (finding.side, finding.zone) for other in placed if other.zone)
        placed.append(swap_side(finding) if crowded else finding)
    low_lesions = [finding for finding in placed if finding.name == "Lung Lesion" and finding.zone != "upper"]
    for place, finding in enumerate(placed):
        if finding.name == "Pleural Effusion" and any(lesion.signs[0] in finding.signs for lesion in low_lesions):
            placed[place] = replace(finding, severity=min(finding.severity, 1))
    return tuple(sorted(placed, key=lambda finding: _NAMES.index(finding.name)))


def swap_side(finding: Finding) -> Finding:
    """Return a one-sided finding on the other side."""
    return replace(finding, side="left" if finding.side == "right" else "right")
