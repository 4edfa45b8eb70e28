"""What one phantom shows: a patient, findings, devices, a view and a pose; the renderer and the report read it."""

from __future__ import annotations

from dataclasses import dataclass

from igcl_lightning.phantom.patient import Patient

PATHOLOGIES: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Lung Lesion",
    "Pleural Effusion",
    "Pneumothorax",
)
"""Names of what `Scene.findings` holds."""

FINDINGS: tuple[str, ...] = (*PATHOLOGIES, "Support Devices")
"""Names of what can be present in a picture."""

LABELS: tuple[str, ...] = (*FINDINGS, "No Finding")
"""Labels of a study. As in CheXpert, devices do not stand against "No Finding"."""

ZONED: tuple[str, ...] = ("Consolidation", "Lung Lesion")
"""Pathologies that lie in one zone of one lung."""

ZONES: tuple[str, ...] = ("upper", "middle", "lower")

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

SIDE_SIGNS: dict[str, tuple[int, ...]] = {"right": (-1,), "left": (1,), "bilateral": (-1, 1)}
"""Sign of x on each side of the patient; the patient's left is the image's right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a study.

    Attributes:
        name: one of `PATHOLOGIES`.
        severity: 0 mild, 1 moderate, 2 severe; of a lung lesion 0 small nodule, 1 nodule, 2 mass.
        side: "right", "left" or "bilateral".
        zone: one of `ZONES` for a pathology of `ZONED`, else "".
        certainty: one of `CERTAINTIES`: how sure the reporter is. The label is the truth whatever was said.
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
        side: "right" or "left" for a catheter, a pacemaker or a chest tube, else "".
    """

    kind: str
    side: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the renderer and the report need to know.

    Attributes:
        patient: the person.
        findings: in the order of `PATHOLOGIES`, each at most once.
        shift: of the patient in the image, (x, y).
        zoom: of the patient.
        rotation: of the patient, in radians.
        heart_ratio: cardiothoracic ratio as imaged.
        domes: height y of the top of the right and the left diaphragm dome.
        mediastinal_shift: of heart and mediastinum along x.
        arm_angle: of the upper arms from the vertical, in radians.
        devices: in the order of `DEVICES`, each kind at most once.
        view: of the frontal image, "PA" or "AP".
        lateral: a lateral image was taken too.
        ordinal: which of the patient's studies this is, from 0.
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
