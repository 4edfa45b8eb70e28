"""The scene of a study: patient, findings, devices, view and pose. The renderer and the report both read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from igcl_lightning.phantom.pathologies import PATHOLOGIES, SIDE_SIGNS
from igcl_lightning.phantom.patient import Patient

FINDINGS: tuple[str, ...] = (*PATHOLOGIES, "Support Devices")  # names of everything that can be present in an image

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
    """One finding of a study."""

    name: str  # one of `PATHOLOGIES`
    severity: int  # 0 mild, 1 moderate, 2 severe; for a lung lesion 0 small nodule, 1 nodule, 2 mass
    side: str  # "right", "left" or "bilateral"
    zone: str = ""  # one of `ZONES` for a pathology with zones, otherwise ""
    certainty: str = "definite"  # one of `CERTAINTIES`, how sure the reporter is. The label is always the truth.

    @property
    def signs(self) -> tuple[int, ...]:
        """Signs of x on which the finding lies."""
        return SIDE_SIGNS[self.side]


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a study."""

    kind: str  # one of `DEVICES`
    side: str = ""  # "right" or "left" for a catheter, a pacemaker or a chest tube, otherwise ""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that the renderer and the report need. Lengths are in half image widths, angles in radians."""

    patient: Patient  # the person
    findings: tuple[Finding, ...]  # in the order of `PATHOLOGIES`, each at most once
    shift: tuple[float, float]  # position (x, y) of the patient in the image
    zoom: float  # size of the patient
    rotation: float  # rotation of the patient
    heart_ratio: float  # cardiothoracic ratio in the image
    domes: tuple[float, float]  # height y of the top of the right and the left diaphragm dome
    mediastinal_shift: float  # displacement of heart and mediastinum along x
    arm_angle: float  # angle of the upper arms from the vertical
    devices: tuple[Device, ...] = ()  # in the order of `DEVICES`, each kind at most once
    view: str = "PA"  # "PA" or "AP", the view of the frontal image
    lateral: bool = False  # whether there is also a lateral image
    ordinal: int = 0  # number of the study among the patient's studies, from 0
    previous: tuple[Finding, ...] | None = None  # findings of the patient's previous study, None for the first

    def finding(self, name: str) -> Finding | None:
        """Return the finding called `name`, or None."""
        return next((finding for finding in self.findings if finding.name == name), None)

    @property
    def has_rival_sides(self) -> bool:
        """Whether findings differ by side: one is on the left, one on the right."""
        return {"left", "right"} <= {finding.side for finding in self.findings}

    @property
    def labels(self) -> dict[str, float]:
        """1.0 or 0.0 for each of `LABELS`."""
        present = {finding.name for finding in self.findings}
        labels = {name: float(name in present) for name in PATHOLOGIES}
        return {**labels, "Support Devices": float(bool(self.devices)), "No Finding": float(not present)}


LOW_VOLUMES = 0.43  # mean height y of the domes above which lung volumes are called low


def _has_low_volumes(scene: Scene) -> bool:
    """Return whether both domes are high because of the pose alone."""
    lifted = scene.finding("Atelectasis") is not None or scene.has_rival_sides
    return not lifted and sum(scene.domes) / 2 < LOW_VOLUMES


CIRCUMSTANCES: dict[str, Callable[[Scene], bool]] = {
    "": lambda scene: True,
    "mediastinum at rest": lambda scene: all(f.side == "bilateral" or f.zone for f in scene.findings),
    "older": lambda scene: scene.patient.age > 55,
    "low lung volumes": _has_low_volumes,
    "AP": lambda scene: scene.view == "AP",
    "obese": lambda scene: scene.patient.habitus > 0.55,
}
"""Conditions for remarks that concern no finding, by the names in the phrase files."""
