"""Findings in the frontal image: one function each, which changes the layers and returns the region of the finding.

Each function takes the finding, the chest, its layers and a random generator. It returns a region [size, size] from 0
outside to 1 inside.
"""

from __future__ import annotations

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.anatomy import ANGLE_DEPTH, HILUM_X, Chest
from igcl_lightning.phantom.grid import HEIGHTS, Array, bump, chord, length, smooth_field, soft
from igcl_lightning.phantom.lateral import LateralChest
from igcl_lightning.phantom.organs import Layers
from igcl_lightning.phantom.scene import Finding

ZONE_DEPTH = {"upper": (0.22, 0.36), "middle": (0.46, 0.58), "lower": (0.70, 0.86)}
"""Range of the centre of a patch or lesion, from apex (0) to dome (1)."""


def cardiomegaly(finding: Finding, chest: Chest | LateralChest, layers: Layers, rng: np.random.Generator) -> Array:
    """Region of the heart, already enlarged by the scene."""
    return chest.heart


def _edema(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """Bilateral perihilar haze, wide vessels, septal lines at the lateral bases."""
    opacity = rng.uniform(*difficulty.EDEMA_OPACITY[finding.severity])
    mottle = smooth_field(rng, 7, chest.frame.size) * 0.35 + smooth_field(rng, 40, chest.frame.size) * 0.30
    wings = np.exp(-((chest.from_hilum / rng.uniform(0.34, 0.48)) ** 2)) + 0.25 * chest.depth
    layers.air *= 1 - np.clip(opacity * wings * (1 + mottle), 0, 0.95)
    layers.vessels *= 1.1 + 0.12 * finding.severity
    septa = soft(chest.from_midline - chest.wall + 0.09, 0.04) * soft(chest.depth - 0.68, 0.1) * chest.lung
    septa *= np.sin(chest.frame.y * (2 * np.pi / 0.055)) > 0.6
    layers.vessels += (0.02 + 0.012 * finding.severity) * septa
    region: Array = chest.lung * (wings > 0.45)
    return region


def _consolidation(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """A patch of filled airspace with a ragged border in one zone of one lung."""
    y, wall = _draw_height(finding, chest, rng)
    x = finding.signs[0] * rng.uniform(0.42, 0.72) * wall
    radius = rng.uniform(*difficulty.CONSOLIDATION_RADIUS[finding.severity])
    stretch = rng.uniform(0.8, 1.25)
    across = (chest.frame.x - x) / (radius * stretch)
    down = (chest.frame.y - y) / (radius / stretch)
    ragged = 0.38 * smooth_field(rng, 14, chest.frame.size) + 0.22 * smooth_field(rng, 30, chest.frame.size)
    patch = soft(1 - length(across, down) + ragged, 0.9) * chest.lung * chest.on_side(finding.signs[0])
    opacity = rng.uniform(*difficulty.CONSOLIDATION_OPACITY[finding.severity])
    layers.air *= 1 - opacity * patch
    layers.vessels *= 1 - 0.6 * patch
    return patch


def _lesion(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """A round opacity beside the heart, densest in its middle; a mass is lobulated."""
    sign = finding.signs[0]
    radius = rng.uniform(*difficulty.LESION_RADIUS[finding.severity])
    y, wall = _draw_height(finding, chest, rng)
    hidden = float(np.interp(y, HEIGHTS, chest.borders[sign > 0]))
    x = sign * rng.uniform(min(max(hidden + 0.6 * radius, 0.35 * wall), 0.8 * wall), 0.85 * wall)
    stretch = rng.uniform(0.9, 1.1)
    distance = length((chest.frame.x - x) * (1 / (radius * stretch)), (chest.frame.y - y) * (stretch / radius))
    if finding.severity == 2:
        distance += 0.1 * smooth_field(rng, 20, chest.frame.size)
    lesion = chord(distance) * chest.lung * chest.on_side(sign)
    layers.air *= 1 - rng.uniform(*difficulty.LESION_OPACITY[finding.severity]) * lesion
    layers.vessels *= 1 - 0.5 * lesion
    return lesion


def _draw_height(finding: Finding, chest: Chest, rng: np.random.Generator) -> tuple[float, float]:
    """Draw a height y in the zone of a finding; return it and the distance of the lung's wall from the midline."""
    apex, dome = chest.scene.patient.apex, chest.scene.domes[finding.signs[0] > 0]
    y = apex + rng.uniform(*ZONE_DEPTH[finding.zone]) * (dome - apex)
    return y, float(np.interp(y, HEIGHTS, chest.wall_profile))


def _atelectasis(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """Bands above the dome; severe atelectasis is a wedge of collapsed lower lobe."""
    region = np.zeros_like(chest.lung)
    for sign in finding.signs:
        opacity = rng.uniform(*difficulty.BAND_OPACITY[finding.severity])
        dome, width = chest.scene.domes[sign > 0], chest.scene.patient.width
        bands = np.zeros_like(region)
        for _ in range(1 + finding.severity):
            x = chest.from_midline - rng.uniform(0.45, 0.72) * width
            tilt = rng.uniform(-0.45, 0.2)
            y = chest.frame.y - (dome - rng.uniform(0.06, 0.2)) - tilt * x
            reach, thickness = rng.uniform(0.14, 0.26), rng.uniform(0.018, 0.030) * (1 + 0.3 * finding.severity)
            np.maximum(bands, bump(y, thickness) * soft(reach - np.abs(x), 0.08), out=bands)
        if finding.severity == 2:
            wedge = soft(chest.frame.y - (dome - 0.16) + 0.5 * (chest.from_midline - HILUM_X), 0.12)
            np.maximum(bands, 0.8 * wedge, out=bands)
        bands *= chest.lung * chest.on_side(sign)
        layers.air *= 1 - opacity * bands
        np.maximum(region, bands, out=region)
    return region


def _effusion(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """Fluid from the costophrenic angle upwards; its upper border rises along the lateral wall."""
    region = np.zeros_like(chest.lung)
    for sign in finding.signs:
        height = rng.uniform(*difficulty.EFFUSION_HEIGHT[finding.severity])
        outward = np.minimum(chest.from_midline / chest.wall, 1)
        level = chest.scene.domes[sign > 0] + ANGLE_DEPTH - height
        rise = (0.1 + 0.25 * height) * (outward * outward) ** 2 + 0.1 * (1 - outward) ** 2
        fluid = soft(chest.frame.y - level + rise, 0.05 + 0.1 * height) * chest.lung * chest.on_side(sign)
        layers.air *= 1 - 0.93 * fluid
        layers.vessels *= 1 - fluid
        layers.tissue += 0.02 * fluid
        np.maximum(region, fluid, out=region)
    return region


def _pneumothorax(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """Air without vessels outside a thin pleural line; the gap is widest at the apex."""
    gap = rng.uniform(*difficulty.PNEUMOTHORAX_GAP[finding.severity])
    drop = rng.uniform(1.0, 1.8) * gap
    rows = round(drop / float(HEIGHTS[1] - HEIGHTS[0]))
    border = chest.frame.at_height(np.roll(chest.wall_profile, rows) - gap * np.clip(1.3 - (HEIGHTS + 0.7) * 0.8, 0, 1))
    inward = border - chest.from_midline
    side = chest.lung * chest.on_side(finding.signs[0])
    outside = soft(-inward) * side
    layers.vessels *= 1 - outside
    layers.air *= 1 + (0.10 + 0.04 * finding.severity) * outside
    layers.air *= 1 - (0.05 + 0.12 * finding.severity) * side * (1 - outside)
    layers.vessels += 0.035 * bump(inward, 0.014) * side
    return outside


FRONTAL_FINDINGS = {
    "Cardiomegaly": cardiomegaly,
    "Edema": _edema,
    "Consolidation": _consolidation,
    "Lung Lesion": _lesion,
    "Atelectasis": _atelectasis,
    "Pleural Effusion": _effusion,
    "Pneumothorax": _pneumothorax,
}
"""Drawing functions by finding, in the order in which findings are drawn over each other."""
