"""The scene of a study: patient, findings, devices, view and pose. The renderer and the report both read it."""

from __future__ import annotations

from dataclasses import dataclass

from igcl_lightning.phantom.pathologies import PATHOLOGIES, SIDE_SIGNS
from igcl_lightning.phantom.patient import Patient

FINDINGS: tuple[str, ...] = (*PATHOLOGIES, "Support Devices")
"""Names of everything that can be present in an image."""

LABELS: tuple[str, ...] = (*FINDINGS, "No Finding")
"""Labels of a study. As in CheXpert, a study with devices can still have "No Finding"."""

CERTAINTIES: tuple[str, ...] = ("definite", "probable", "possible")

DEVICES: tuple[str, ...] = (
    "endotracheal tube",
    "nasogastric tube",
    "central venous catheter",
    "pacemaker",
    "sternotomy wires",
    "chest tube",
)
"""Kinds of devices."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a study.

    Attributes:
        name: one of `PATHOLOGIES`.
        severity: 0 mild, 1 moderate, 2 severe; for a lung lesion 0 small nodule, 1 nodule, 2 mass.
        side: "right", "left" or "bilateral".
        zone: one of `ZONES` for a pathology with zones, otherwise "".
        certainty: one of `CERTAINTIES`, how sure the reporter is. The label is the truth in any case.
    """

    name: str
    severity: int
    side: str
    zone: str = ""
    certainty: str = "definite"

    @property
    def signs(self) -> tuple[int, ...]:
        """Signs of x on which the finding lies."""
        return SIDE_SIGNS[self.side]


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a study.

    Attributes:
        kind: one of `DEVICES`.
        side: "right" or "left" for a catheter, a pacemaker or a chest tube, otherwise "".
    """

    kind: str
    side: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that the renderer and the report need. Lengths are in half image widths, angles in radians.

    Attributes:
        patient: the person.
        findings: in the order of `PATHOLOGIES`, each at most once.
        shift: position (x, y) of the patient in the image.
        zoom: size of the patient.
        rotation: rotation of the patient.
        heart_ratio: cardiothoracic ratio in the image.
        domes: height y of the top of the right and the left diaphragm dome.
        mediastinal_shift: displacement of heart and mediastinum along x.
        arm_angle: angle of the upper arms from the vertical.
        devices: in the order of `DEVICES`, each kind at most once.
        view: "PA" or "AP", the view of the frontal image.
        lateral: whether there is a lateral image too.
        ordinal: number of the study among the patient's studies, from 0.
        previous: findings of the patient's previous study, None for the first.
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
    devices: tuple[Device, ...] = ()
    view: str = "PA"
    lateral: bool = False
    ordinal: int = 0
    previous: tuple[Finding, ...] | None = None

    def finding(self, name: str) -> Finding | None:
        """Return the finding called `name`, or None."""
        return next((finding for finding in self.findings if finding.name == name), None)

    @property
    def labels(self) -> dict[str, float]:
        """1.0 or 0.0 for each of `LABELS`."""
        present = {finding.name for finding in self.findings}
        labels = {name: float(name in present) for name in PATHOLOGIES}
        return {**labels, "Support Devices": float(bool(self.devices)), "No Finding": float(not present)}
