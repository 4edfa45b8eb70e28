"""What each finding does to the chest: one function per finding, which changes the layers and returns its region."""

from __future__ import annotations

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.anatomy import ANGLE_DEPTH, HILUM_X, Chest
from igcl_lightning.phantom.grid import HEIGHTS, Array, Mask, bump, chord, length, smooth_field, soft
from igcl_lightning.phantom.organs import Layers
from igcl_lightning.phantom.scene import Finding


def add_findings(chest: Chest, layers: Layers, rng: np.random.Generator) -> dict[str, Mask]:
    """Draw the findings of the chest's scene into `layers`.

    Returns:
        The region of each finding by its name, bool [size, size].
    """
    regions = {}
    for name, draw in _DRAW.items():
        if finding := chest.scene.finding(name):
            regions[name] = draw(finding, chest, layers, rng) > 0.5
    return regions


def _cardiomegaly(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """The scene's heart is already large: its region is the heart."""
    return chest.heart


def _edema(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """Bilateral perihilar haze, wide vessels, septal lines at the lateral bases."""
    opacity = rng.uniform(*difficulty.EDEMA_OPACITY[finding.severity])
    mottle = smooth_field(rng, 7, chest.frame.size) * 0.35 + smooth_field(rng, 40, chest.frame.size) * 0.30
    wings = np.exp(-((chest.from_hilum / rng.uniform(0.34, 0.48)) ** 2)) + 0.25 * chest.depth
    layers.air *= 1 - np.clip(opacity * wings * (1 + mottle), 0, 0.95)
    layers.vessels *= 1.1 + 0.12 * finding.severity
    septa = soft(chest.aside - chest.lateral + 0.09, 0.04) * soft(chest.depth - 0.68, 0.1) * chest.lung
    septa *= np.sin(chest.frame.y * (2 * np.pi / 0.055)) > 0.6
    layers.vessels += (0.02 + 0.012 * finding.severity) * septa
    region: Array = chest.lung * (wings > 0.45)
    return region


def _consolidation(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """A patch of filled airspace with a ragged border in one zone of one lung."""
    sign = finding.signs[0]
    apex, dome = chest.scene.patient.apex, chest.scene.domes[sign > 0]
    center_y = apex + rng.uniform(*ZONE_DEPTH[finding.zone]) * (dome - apex)
    center_x = sign * rng.uniform(0.42, 0.72) * float(np.interp(center_y, HEIGHTS, chest.lateral_profile))
    radius = rng.uniform(*difficulty.CONSOLIDATION_RADIUS[finding.severity])
    stretch = rng.uniform(0.8, 1.25)
    x = (chest.frame.x - center_x) / (radius * stretch)
    y = (chest.frame.y - center_y) / (radius / stretch)
    ragged = 0.38 * smooth_field(rng, 14, chest.frame.size) + 0.22 * smooth_field(rng, 30, chest.frame.size)
    patch = soft(1 - np.sqrt(x * x + y * y) + ragged, 0.9) * chest.lung * chest.on_side(sign)
    opacity = rng.uniform(*difficulty.CONSOLIDATION_OPACITY[finding.severity])
    layers.air *= 1 - opacity * patch
    layers.vessels *= 1 - 0.6 * patch
    return patch


def _lesion(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """A round opacity beside the heart, densest in its middle; a mass is lobulated."""
    sign = finding.signs[0]
    apex, dome = chest.scene.patient.apex, chest.scene.domes[sign > 0]
    radius = rng.uniform(*difficulty.LESION_RADIUS[finding.severity])
    y = apex + rng.uniform(*ZONE_DEPTH[finding.zone]) * (dome - apex)
    wall = float(np.interp(y, HEIGHTS, chest.lateral_profile))
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


ZONE_DEPTH = {"upper": (0.22, 0.36), "middle": (0.46, 0.58), "lower": (0.70, 0.86)}
"""Where the centre of a patch or lesion lies between apex (0) and dome (1)."""


def _atelectasis(finding: Finding, chest: Chest, layers: Layers, rng: np.random.Generator) -> Array:
    """Bands above the dome; a severe one is a wedge of collapsed lower lobe."""
    region = np.zeros_like(chest.lung)
    for sign in finding.signs:
        opacity = rng.uniform(*difficulty.BAND_OPACITY[finding.severity])
        dome, width = chest.scene.domes[sign > 0], chest.scene.patient.width
        bands = np.zeros_like(region)
        for _ in range(1 + finding.severity):
            x = chest.aside - rng.uniform(0.45, 0.72) * width
            tilt = rng.uniform(-0.45, 0.2)
            y = chest.frame.y - (dome - rng.uniform(0.06, 0.2)) - tilt * x
            length, thickness = rng.uniform(0.14, 0.26), rng.uniform(0.018, 0.030) * (1 + 0.3 * finding.severity)
            np.maximum(bands, bump(y, thickness) * soft(length - np.abs(x), 0.08), out=bands)
        if finding.severity == 2:
            wedge = soft(chest.frame.y - (dome - 0.16) + 0.5 * (chest.aside - HILUM_X), 0.12)
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
        outward = np.minimum(chest.aside / chest.lateral, 1)
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
    sign = finding.signs[0]
    gap = rng.uniform(*difficulty.PNEUMOTHORAX_GAP[finding.severity])
    drop = rng.uniform(1.0, 1.8) * gap
    rows = round(drop / float(HEIGHTS[1] - HEIGHTS[0]))
    border = chest.frame.at_height(
        np.roll(chest.lateral_profile, rows) - gap * np.clip(1.3 - (HEIGHTS + 0.7) * 0.8, 0, 1)
    )
    inward = border - chest.aside
    side = chest.lung * chest.on_side(sign)
    outside = soft(-inward) * side
    layers.vessels *= 1 - outside
    layers.air *= 1 + (0.10 + 0.04 * finding.severity) * outside
    layers.air *= 1 - (0.05 + 0.12 * finding.severity) * side * (1 - outside)
    layers.vessels += 0.035 * bump(inward, 0.014) * side
    return outside


_DRAW = {
    "Cardiomegaly": _cardiomegaly,
    "Edema": _edema,
    "Consolidation": _consolidation,
    "Lung Lesion": _lesion,
    "Atelectasis": _atelectasis,
    "Pleural Effusion": _effusion,
    "Pneumothorax": _pneumothorax,
}
