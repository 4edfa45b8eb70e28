"""What one phantom shows: a patient, a pose, an exposure and findings, drawn from random numbers before any pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from igcl_lightning.data.phantom import difficulty
from igcl_lightning.data.phantom.patient import Patient, Stream

FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Pleural Effusion",
    "Pneumothorax",
)

SIDE_SIGNS: dict[str, tuple[int, ...]] = {"right": (-1,), "left": (1,), "bilateral": (-1, 1)}
"""Sign of x on each side of the patient; the patient's left is the image's right."""

BILATERAL: dict[str, float] = {
    "Atelectasis": 0.25,
    "Cardiomegaly": 1.0,
    "Consolidation": 0.0,
    "Edema": 1.0,
    "Pleural Effusion": 0.25,
    "Pneumothorax": 0.0,
}
"""Chance of each finding to be on both sides."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a study.

    Attributes:
        name: one of `FINDINGS`.
        severity: 0 mild, 1 moderate, 2 severe.
        side: "right", "left" or "bilateral".
        zone: "upper", "middle" or "lower" for a consolidation, else "".
    """

    name: str
    severity: int
    side: str
    zone: str = ""

    @property
    def signs(self) -> tuple[int, ...]:
        """Signs of x on which the finding lies."""
        return SIDE_SIGNS[self.side]


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the renderer and the report need to know.

    Attributes:
        patient: the person.
        findings: in the order of `FINDINGS`, each at most once.
        shift: of the patient in the image, (x, y).
        zoom: of the patient.
        rotation: of the patient, in radians.
        heart_ratio: cardiothoracic ratio as imaged.
        domes: height y of the top of the right and the left diaphragm dome.
        mediastinal_shift: of heart and mediastinum along x.
        arm_angle: of the upper arms from the vertical, in radians.
    """

    patient: Patient
    findings: tuple[Finding, ...]
    shift: tuple[float, float]
    zoom: float
    rotation: float
    heart_ratio: float
    domes: tuple[float, float]
    mediastinal_shift: float
    arm_angle: float

    def finding(self, name: str) -> Finding | None:
        """Return the finding called `name`, or None."""
        return next((finding for finding in self.findings if finding.name == name), None)


def study_generators(index: int, seed: int) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Return independent random numbers for the scene, the report and the pixels of study `index`."""
    scene, report, pixels = (np.random.default_rng((seed, Stream.STUDY, index, part)) for part in range(3))
    return scene, report, pixels


def draw_scene(patient: Patient, rng: np.random.Generator) -> Scene:
    """Draw one study of `patient`."""
    findings = draw_findings(rng)
    by_name = {finding.name: finding for finding in findings}
    inspiration = rng.uniform(*difficulty.INSPIRATION)
    domes = [0.50 + inspiration + rng.uniform(-0.02, 0.02), 0.55 + inspiration + rng.uniform(-0.02, 0.03)]
    shift = rng.uniform(-0.025, 0.025)
    ratio = patient.heart_ratio
    if large := by_name.get("Cardiomegaly"):
        ratio = rng.uniform(*difficulty.LARGE_HEART[large.severity])
    if collapsed := by_name.get("Atelectasis"):
        for sign in collapsed.signs:
            lift = rng.uniform(*difficulty.DOME_LIFT[collapsed.severity])
            domes[sign > 0] -= lift
            shift += 0.35 * lift * sign
    for name, push in (("Pleural Effusion", 0.03), ("Pneumothorax", 0.04)):
        finding = by_name.get(name)
        if finding and finding.severity == 2 and finding.side != "bilateral":
            shift -= push * finding.signs[0]
    return Scene(
        patient=patient,
        findings=findings,
        shift=(float(rng.uniform(*difficulty.SHIFT)), float(rng.uniform(*difficulty.SHIFT))),
        zoom=float(rng.uniform(*difficulty.ZOOM)),
        rotation=float(rng.uniform(*difficulty.ROTATION)),
        heart_ratio=float(ratio),
        domes=(float(domes[0]), float(domes[1])),
        mediastinal_shift=float(shift),
        arm_angle=float(rng.uniform(0.05, 0.7)),
    )


def draw_findings(rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw a scenario and, from it, which findings are present, where and how severe."""
    weights = np.array([weight for weight, _ in difficulty.SCENARIOS.values()])
    scenario = rng.choice(len(weights), p=weights / weights.sum())
    chances = list(difficulty.SCENARIOS.values())[scenario][1]
    present = rng.random(len(FINDINGS)) < chances
    severities = rng.choice(3, size=len(FINDINGS), p=difficulty.SEVERITY_WEIGHTS)
    sides = rng.choice(["right", "left"], size=len(FINDINGS))
    both = rng.random(len(FINDINGS))
    zone = str(rng.choice(["upper", "middle", "lower"], p=[0.27, 0.23, 0.50]))
    findings = []
    for position in np.flatnonzero(present):
        name = FINDINGS[position]
        bilateral = both[position] < BILATERAL[name]
        side = "bilateral" if bilateral else str(sides[position])
        findings.append(Finding(name, int(severities[position]), side, zone if name == "Consolidation" else ""))
    return tuple(findings)
