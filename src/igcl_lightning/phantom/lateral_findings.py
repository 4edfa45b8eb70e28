"""Findings and devices in the lateral image: functions as in `findings` and `devices`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.devices import Part, catheter, tube, wire_loops
from igcl_lightning.phantom.findings import ZONE_DEPTH, cardiomegaly
from igcl_lightning.phantom.grid import HEIGHTS, Array, bump, chord, length, smooth_field, soft, stroke, trace
from igcl_lightning.phantom.lateral import DOME_FALL, DOME_TOP, LateralChest
from igcl_lightning.phantom.organs import Layers
from igcl_lightning.phantom.scene import Device, Finding

OVERLAP = 0.6  # share of its opacity that a finding of one lung keeps, because the other lung lies over it

_ZONE_PLACE = {"upper": (0.40, 0.65), "middle": (0.22, 0.38), "lower": (0.62, 0.80)}
"""Range of the centre of each zone between the front (0) and the back (1) of the lungs."""


def _edema(finding: Finding, chest: LateralChest, layers: Layers, rng: np.random.Generator) -> Array:
    """Haze around the hila, wide vessels."""
    wings = np.exp(-((chest.from_hilum / 0.40) ** 2))
    mottle = 0.35 * smooth_field(rng, 7, chest.frame.size) + 0.30 * smooth_field(rng, 40, chest.frame.size)
    layers.air *= 1 - np.clip(rng.uniform(*difficulty.EDEMA_OPACITY[finding.severity]) * wings * (1 + mottle), 0, 0.95)
    layers.vessels *= 1.1 + 0.12 * finding.severity
    region: Array = np.maximum(*chest.lungs) * (wings > 0.45)
    return region


def _consolidation(finding: Finding, chest: LateralChest, layers: Layers, rng: np.random.Generator) -> Array:
    """A ragged patch in its zone: the middle zone lies in front, the lower one behind."""
    distance = _from_place(finding, chest, rng.uniform(*difficulty.CONSOLIDATION_RADIUS[finding.severity]), rng)
    ragged = 0.38 * smooth_field(rng, 14, chest.frame.size) + 0.22 * smooth_field(rng, 30, chest.frame.size)
    patch = soft(1 - distance + ragged, 0.9) * chest.lungs[finding.signs[0] > 0]
    layers.air *= 1 - OVERLAP * rng.uniform(*difficulty.CONSOLIDATION_OPACITY[finding.severity]) * patch
    return patch


def _lesion(finding: Finding, chest: LateralChest, layers: Layers, rng: np.random.Generator) -> Array:
    """A round opacity in its zone."""
    distance = _from_place(finding, chest, rng.uniform(*difficulty.LESION_RADIUS[finding.severity]), rng)
    lesion = chord(distance) * chest.lungs[finding.signs[0] > 0]
    layers.air *= 1 - OVERLAP * rng.uniform(*difficulty.LESION_OPACITY[finding.severity]) * lesion
    return lesion


def _atelectasis(finding: Finding, chest: LateralChest, layers: Layers, rng: np.random.Generator) -> Array:
    """Bands above the raised dome, behind the heart."""
    region = np.zeros_like(chest.heart)
    for sign in finding.signs:
        x = chest.frame.x - rng.uniform(0.08, 0.25)
        y = chest.frame.y - (chest.scene.domes[sign > 0] - rng.uniform(0.02, 0.12)) - rng.uniform(-0.1, 0.5) * x
        band = bump(y, 0.024 * (1 + 0.3 * finding.severity)) * soft(rng.uniform(0.14, 0.26) - np.abs(x), 0.08)
        band *= chest.lungs[sign > 0]
        layers.air *= 1 - OVERLAP * rng.uniform(*difficulty.BAND_OPACITY[finding.severity]) * band
        np.maximum(region, band, out=region)
    return region


def _effusion(finding: Finding, chest: LateralChest, layers: Layers, rng: np.random.Generator) -> Array:
    """Fluid that fills the posterior angle; its border rises along the back."""
    region = np.zeros_like(chest.heart)
    angle_depth = DOME_FALL * (1 - DOME_TOP) ** 2
    for sign in finding.signs:
        height = rng.uniform(*difficulty.EFFUSION_HEIGHT[finding.severity])
        level = chest.scene.domes[sign > 0] + angle_depth - 0.05 - height
        steep = np.square(np.square(np.clip(chest.along, 0, 1)))
        rise = (0.10 + 0.25 * height) * steep
        fluid = soft(chest.frame.y - level + rise, 0.05 + 0.1 * height) * chest.lungs[sign > 0]
        layers.air *= 1 - OVERLAP * fluid
        layers.vessels *= 1 - OVERLAP * fluid
        np.maximum(region, fluid, out=region)
    return region


def _from_place(finding: Finding, chest: LateralChest, radius: float, rng: np.random.Generator) -> Array:
    """Return the distance from the middle of the finding's zone, in radii."""
    apex, dome = chest.scene.patient.apex, chest.scene.domes[finding.signs[0] > 0]
    y = apex + rng.uniform(*ZONE_DEPTH[finding.zone]) * (dome - apex)
    place = rng.uniform(*_ZONE_PLACE[finding.zone])
    distance: Array = length((chest.along - place) * (chest.back - chest.front), chest.frame.y - y)
    return distance * (1 / radius)


def _pacemaker(device: Device, chest: LateralChest, rng: np.random.Generator) -> Iterator[Part]:
    """A box under the skin in front, and a lead down to the heart."""
    width, floor, y = chest.scene.patient.width / 0.64, chest.scene.domes[1], rng.uniform(-0.42, -0.32)
    box = [(-0.43 * width, y), (-0.47 * width, y + 0.07), (-0.50 * width, y + 0.14)]
    lead = [box[0], (-0.25, y - 0.16), (-0.05, y - 0.06), (-0.06, -0.1), (-0.12, floor - 0.16), (-0.36, floor - 0.08)]
    for points, breadth, thickness in ((box, 0.06, difficulty.BOX), (lead, 0.015, difficulty.WIRE)):
        yield stroke(chest.frame, trace(points, chest.frame.size), breadth), thickness


def _sternotomy_wires(device: Device, chest: LateralChest, rng: np.random.Generator) -> Iterator[Part]:
    """Loops of wire around the breastbone."""
    y = chest.scene.patient.apex + rng.uniform(0.22, 0.32) + rng.uniform(0.11, 0.14) * np.arange(5)
    x = np.interp(y, HEIGHTS, chest.front_profile) - 0.045
    yield wire_loops(chest.frame, x, y, rng.uniform(-0.012, 0.012, size=5))


def _chest_tube(device: Device, chest: LateralChest, rng: np.random.Generator) -> Iterator[Part]:
    """A tube through the back up to the apex."""
    width, floor, apex = chest.scene.patient.width / 0.64, chest.scene.domes[1], chest.scene.patient.apex
    points = [(0.66 * width, floor - 0.05), (0.42 * width, floor - 0.20), (0.30, -0.1), (0.16, apex + 0.28)]
    yield from reversed(tube(chest.frame, points))


def _central_catheter(device: Device, chest: LateralChest, rng: np.random.Generator) -> Iterator[Part]:
    """A line from the neck to the heart."""
    apex, tip = chest.scene.patient.apex, chest.hilum_y + rng.uniform(-0.05, 0.1)
    yield catheter(chest.frame, [(0.05, apex - 0.5), (0.0, apex), (-0.03, -0.4), (-0.02, tip)])


LATERAL_FINDINGS = {
    "Atelectasis": _atelectasis,
    "Cardiomegaly": cardiomegaly,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Lung Lesion": _lesion,
    "Pleural Effusion": _effusion,
    "Pneumothorax": None,
}
"""Drawing functions by finding, in the order of drawing; None for a finding that is not seen from the side."""

LATERAL_DEVICES = {
    "central venous catheter": _central_catheter,
    "pacemaker": _pacemaker,
    "sternotomy wires": _sternotomy_wires,
    "chest tube": _chest_tube,
}
"""Drawing functions by kind of device. Patients with other devices lie in bed and have no lateral image."""
