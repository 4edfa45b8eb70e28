"""Which study belongs to an index: its ids, its scene, and the random numbers of its report and images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.course import (
    draw_devices,
    draw_finding,
    draw_view,
    pick,
    study_findings,
    swap_side,
)
from igcl_lightning.phantom.patient import (
    VARIANTS,
    Patient,
    Stream,
    draw_patient,
    draw_person,
    generator,
    locate_patient,
)
from igcl_lightning.phantom.scene import Finding, Scene

HARD_PATHOLOGIES: tuple[str, ...] = ("Atelectasis", "Consolidation", "Lung Lesion", "Pleural Effusion", "Pneumothorax")
"""Pathologies of one side, which the twins of "hard_negatives" swap."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A study before it is drawn and reported.

    Attributes:
        index: of the study.
        seed: of its collection.
        variant: one of `VARIANTS`.
        study_id: unique in its collection.
        patient_id: of the person.
        scene: what the study shows.
        report_number: of the report's random stream; twins share theirs.
    """

    index: int
    seed: int
    variant: str
    study_id: str
    patient_id: str
    scene: Scene
    report_number: int

    @property
    def report_rng(self) -> np.random.Generator:
        """Random numbers of the report, from their start."""
        return generator(Stream.REPORT, self.report_number, self.seed, self.variant)

    @property
    def frontal_rng(self) -> np.random.Generator:
        """Random numbers of the frontal image, from their start."""
        return generator(Stream.FRONTAL, self.index, self.seed, self.variant)

    @property
    def lateral_rng(self) -> np.random.Generator:
        """Random numbers of the lateral image, from their start."""
        return generator(Stream.LATERAL, self.index, self.seed, self.variant)

    @property
    def shortcut_rng(self) -> np.random.Generator:
        """Random numbers of the planted shortcut, from their start."""
        return generator(Stream.SHORTCUT, self.index, self.seed, self.variant)


def find_case(index: int, seed: int = 0, variant: str = "standard") -> Case:
    """Return study `index` of the collection `variant`, one of `VARIANTS`."""
    prefix, number, scene, report_number = _CASES[variant](index, seed)
    study_id, patient_id = f"{prefix}-{index:06d}", f"{prefix}-patient-{number:06d}"
    return Case(index, seed, variant, study_id, patient_id, scene, report_number)


def _standard(index: int, seed: int) -> tuple[str, int, Scene, int]:
    """Return the prefix of ids, the patient's number, the scene and the number of the report's random stream."""
    number, ordinal = locate_patient(index, seed)
    patient, rng = draw_patient(number, seed), generator(Stream.SCENE, index, seed)
    findings = study_findings(index, ordinal, seed)
    view, lateral = draw_view(findings, rng)
    scene = replace(
        draw_scene(patient, findings, view, rng),
        devices=draw_devices(patient, findings, view, rng),
        lateral=lateral,
        ordinal=ordinal,
        previous=study_findings(index - 1, ordinal - 1, seed) if ordinal else None,
    )
    return "phantom", number, scene, index


def _hard_negative(index: int, seed: int) -> tuple[str, int, Scene, int]:
    """Return one of two twins, as `_standard`: both report with the same random numbers, so in the same words.

    For the report's sake each twin counts as the patient's first study.
    """
    pair, second = divmod(index, 2)
    variant = "hard_negatives"
    patient = draw_person(pair, "test", generator(Stream.PATIENT, pair, seed, variant))
    rng = generator(Stream.FINDINGS, pair, seed, variant)
    findings = draw_pair(rng)
    view, _ = draw_view(findings, rng)
    pose = generator(Stream.SCENE, index, seed, variant)
    return "phantom-hard", pair, draw_scene(patient, swap(findings) if second else findings, view, pose), pair


_CASES = dict(zip(VARIANTS, (_standard, _hard_negative), strict=True))


def draw_pair(rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw two findings that the picture shows well, one on each side, in zones that both lungs have."""
    names = sorted(HARD_PATHOLOGIES[place] for place in rng.permutation(len(HARD_PATHOLOGIES))[:2])
    sides = rng.permutation(["left", "right"])
    drawn = [draw_finding(name, 1 + pick((0.65, 0.35), rng), rng) for name in names]
    zones = ["upper" if rng.random() < 0.5 else "lower" for _ in drawn]
    return tuple(
        replace(finding, side=str(side), zone=zone if finding.zone else "")
        for finding, side, zone in zip(drawn, sides, zones, strict=True)
    )


def swap(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return two findings at each other's side, and in each other's zone where both have one."""
    first, second = (swap_side(finding) for finding in findings)
    if first.zone and second.zone:
        first, second = replace(first, zone=second.zone), replace(second, zone=first.zone)
    return first, second


def draw_scene(patient: Patient, findings: tuple[Finding, ...], view: str, rng: np.random.Generator) -> Scene:
    """Draw how `patient` with `findings` stands or lies before the detector."""
    by_name = {finding.name: finding for finding in findings}
    inspiration = rng.uniform(*difficulty.INSPIRATION[view])
    domes = [0.50 + inspiration + rng.uniform(-0.02, 0.02), 0.55 + inspiration + rng.uniform(-0.02, 0.03)]
    shift = rng.uniform(-0.025, 0.025)
    ratio = patient.heart_ratio
    if large := by_name.get("Cardiomegaly"):
        ratio = rng.uniform(*difficulty.LARGE_HEART[large.severity])
    if view == "AP":
        ratio = min(ratio * difficulty.AP_MAGNIFICATION, difficulty.LARGEST_HEART)
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
        zoom=float(rng.uniform(*difficulty.ZOOM[view])),
        rotation=float(rng.uniform(*difficulty.ROTATION)),
        heart_ratio=float(ratio),
        domes=(float(domes[0]), float(domes[1])),
        mediastinal_shift=float(shift),
        arm_angle=float(rng.uniform(*difficulty.ARM_ANGLE[view])),
        view=view,
    )
