"""What a patient has from study to study: findings that stay, change, come and go, and the devices of each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.patient import Patient, Stream, generator
from igcl_lightning.phantom.scene import CERTAINTIES, PATHOLOGIES, ZONES, Device, Finding


@lru_cache(maxsize=64)
def study_findings(index: int, ordinal: int, seed: int) -> tuple[Finding, ...]:
    """Return what study `index`, the patient's study number `ordinal`, shows; it may follow the study before it."""
    rng = generator(Stream.FINDINGS, index, seed)
    if ordinal and rng.random() < difficulty.FOLLOW_UP:
        return follow_up(study_findings(index - 1, ordinal - 1, seed), rng)
    return draw_findings(rng)


def draw_findings(rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw a scenario and, from it, which findings are present, where and how severe."""
    weights, chances = zip(*difficulty.SCENARIOS.values(), strict=True)
    present = rng.random(len(PATHOLOGIES)) < chances[pick(weights, rng)]
    findings = [
        draw_finding(PATHOLOGIES[place], pick(difficulty.SEVERITY_WEIGHTS, rng), rng)
        for place in np.flatnonzero(present)
    ]
    return _settle(findings)


def draw_finding(name: str, severity: int, rng: np.random.Generator) -> Finding:
    """Draw where a finding lies, and how sure the reporter is."""
    side = "right" if rng.random() < 0.5 else "left"
    if rng.random() < difficulty.BILATERAL.get(name, 0.0):
        side = "bilateral"
    zone = ZONES[pick(difficulty.ZONE_WEIGHTS[name], rng)] if name in difficulty.ZONE_WEIGHTS else ""
    return Finding(name, severity, side, zone, draw_certainty(severity, rng))


def draw_certainty(severity: int, rng: np.random.Generator) -> str:
    """Draw how sure the reporter is of a finding: mild ones are hedged more often."""
    return CERTAINTIES[pick(difficulty.CERTAINTY_WEIGHTS[severity], rng)]


def follow_up(previous: Sequence[Finding], rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw what is there after `previous`: most of it, a little better or worse, and now and then something new."""
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
    """Draw the view of the frontal image, and whether a lateral image was taken."""
    chance = difficulty.AP_CHANCE + sum(difficulty.AP_CHANCE_OF.get(finding.name, 0.0) for finding in findings)
    view = "AP" if rng.random() < chance else "PA"
    return view, bool(rng.random() < difficulty.LATERAL_SHARE) and view == "PA"


def draw_devices(
    patient: Patient, findings: Iterable[Finding], view: str, rng: np.random.Generator
) -> tuple[Device, ...]:
    """Draw the devices of a study: the patient's implants, and the lines and tubes of those who lie in bed."""
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
    if (drained := _drained(findings)) and chances[4] < difficulty.CHEST_TUBE[drained.name]:
        devices.append(Device("chest tube", drained.side))
    return tuple(devices)


def pick(weights: Sequence[float], rng: np.random.Generator) -> int:
    """Draw a position in `weights` in proportion to them; many times faster than `Generator.choice`."""
    ends = list(accumulate(weights))
    return bisect_right(ends, float(rng.random()) * ends[-1])


def _drained(findings: Iterable[Finding]) -> Finding | None:
    """Return the finding that a chest tube would drain: on one side only, and not mild."""
    candidates = {finding.name: finding for finding in findings if finding.severity and finding.side != "bilateral"}
    return next((candidates[name] for name in difficulty.CHEST_TUBE if name in candidates), None)


def _settle(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Keep findings from hiding each other, and put them in the order of `PATHOLOGIES`.

    Of two in one zone the second moves to the other side; an effusion over a lesion below the upper zone is not severe.
    """
    placed: list[Finding] = []
    for finding in findings:
        crowded = any((other.side, other.zone) == (finding.side, finding.zone) for other in placed if other.zone)
        placed.append(swap_side(finding) if crowded else finding)
    low_lesions = [finding for finding in placed if finding.name == "Lung Lesion" and finding.zone != "upper"]
    for place, finding in enumerate(placed):
        if finding.name == "Pleural Effusion" and any(lesion.signs[0] in finding.signs for lesion in low_lesions):
            placed[place] = replace(finding, severity=min(finding.severity, 1))
    return tuple(sorted(placed, key=lambda finding: PATHOLOGIES.index(finding.name)))


def swap_side(finding: Finding) -> Finding:
    """Return a one-sided finding on the other side."""
    return replace(finding, side="left" if finding.side == "right" else "right")
