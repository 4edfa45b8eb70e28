"""Cases: the scene of each index, its ids, and the random numbers of its report and images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.course import draw_devices, draw_finding, draw_view, pick, study_findings, swap_side
from igcl_lightning.phantom.pathologies import PATHOLOGIES
from igcl_lightning.phantom.patient import Patient, Stream, draw_patient, draw_person, generator, locate_patient
from igcl_lightning.phantom.scene import Finding, Scene

HARD_PATHOLOGIES: tuple[str, ...] = tuple(name for name, row in PATHOLOGIES.items() if row.hard_negative)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A study before it is drawn and reported."""

    index: int  # number of the study in its collection
    seed: int  # seed of the collection
    variant: str  # one of `VARIANTS`
    scene: Scene  # contents of the study

    @property
    def study_id(self) -> str:
        """Id of the study, unique in its collection."""
        return f"{self._prefix}-{self.index:06d}"

    @property
    def patient_id(self) -> str:
        """Id of the patient, unique in the collection."""
        return f"{self._prefix}-patient-{self.scene.patient.number:06d}"

    @property
    def _prefix(self) -> str:
        return "phantom-hard" if self.variant == "hard_negatives" else "phantom"

    def rng(self, stream: Stream) -> np.random.Generator:
        """Return a new random generator for `stream`; the two reports of a hard negative pair share theirs."""
        paired = stream is Stream.REPORT and self.variant == "hard_negatives"
        return generator(stream, self.index // 2 if paired else self.index, self.seed, self.variant)


def find_case(index: int, seed: int = 0, variant: str = "standard") -> Case:
    """Return study `index` of the collection `variant`, one of `VARIANTS`."""
    draw = _draw_hard_negative if variant == "hard_negatives" else _draw_standard
    return Case(index, seed, variant, draw(index, seed))


def _draw_standard(index: int, seed: int) -> Scene:
    number, ordinal = locate_patient(index, seed)
    patient, rng = draw_patient(number, seed), generator(Stream.SCENE, index, seed)
    findings = study_findings(index, ordinal, seed)
    view, lateral = draw_view(findings, rng)
    return replace(
        draw_scene(patient, findings, view, rng),
        devices=draw_devices(patient, findings, view, rng),
        lateral=lateral,
        ordinal=ordinal,
        previous=study_findings(index - 1, ordinal - 1, seed) if ordinal else None,
    )


def _draw_hard_negative(index: int, seed: int) -> Scene:
    """Draw one study of a pair: both have the same findings with sides and zones swapped; both are first studies."""
    pair, second = divmod(index, 2)
    variant = "hard_negatives"
    patient = draw_person(pair, "test", generator(Stream.PATIENT, pair, seed, variant))
    rng = generator(Stream.FINDINGS, pair, seed, variant)
    findings = draw_pair(rng)
    view, _ = draw_view(findings, rng)
    pose = generator(Stream.SCENE, index, seed, variant)
    return draw_scene(patient, swap(findings) if second else findings, view, pose)


def draw_pair(rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw two findings that are easy to see, one on each side, in zones that both lungs have."""
    names = sorted(HARD_PATHOLOGIES[place] for place in rng.permutation(len(HARD_PATHOLOGIES))[:2])
    sides = rng.permutation(["left", "right"])
    drawn = [draw_finding(name, 1 + pick((0.65, 0.35), rng), rng) for name in names]
    zones = ["upper" if rng.random() < 0.5 else "lower" for _ in drawn]
    return tuple(
        replace(finding, side=str(side), zone=zone if finding.zone else "")
        for finding, side, zone in zip(drawn, sides, zones, strict=True)
    )


def swap(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Exchange the sides of two findings, and their zones if both have one."""
    first, second = (swap_side(finding) for finding in findings)
    if first.zone and second.zone:
        first, second = replace(first, zone=second.zone), replace(second, zone=first.zone)
    return first, second


def draw_scene(patient: Patient, findings: tuple[Finding, ...], view: str, rng: np.random.Generator) -> Scene:
    """Draw the pose of `patient`, which `findings` may change."""
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
