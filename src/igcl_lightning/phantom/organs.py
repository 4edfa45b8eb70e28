"""Tissues of the frontal image without findings: aerated lung, vessels, soft tissue and bone.

Thickness is measured in chests: 1 is the attenuation of the body in the midline. Aerated lung reduces thickness.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.anatomy import HILUM_X, Chest
from igcl_lightning.phantom.grid import HEIGHTS, Array, bump, chord, curve, hollow, inside, length, smooth_field, soft


@dataclass(slots=True, eq=False)
class Layers:
    """Thickness of each tissue in the beam, float32 [size, size]; findings change it in place."""

    air: Array  # thickness that aerated lung removes
    vessels: Array  # vessels of the lungs
    tissue: Array  # other soft tissue
    bone: Array  # ribs, spine and shoulders


def draw_anatomy(chest: Chest, rng: np.random.Generator) -> Layers:
    """Return the layers of a chest without findings."""
    return Layers(_air(chest, rng), _vessels(chest, rng), _soft_tissue(chest, rng), _bones(chest, rng))


def _air(chest: Chest, rng: np.random.Generator) -> Array:
    """Return the lungs, thin at the wall, at the apex and over the diaphragm, and mostly hidden by the heart."""
    frame = chest.frame
    air = chest.lung * chord(chest.from_midline / chest.wall)
    air *= np.clip(0.55 + 1.5 * chest.depth, 0, 1)
    air *= np.clip(0.6 + 1.8 * (chest.dome - frame.y), 0, 1)
    air *= 1 - 0.88 * chest.silhouette
    haze = rng.uniform(*difficulty.HAZE)
    air *= rng.uniform(*difficulty.LUNG_AIR) * (1 - haze - 0.6 * haze * smooth_field(rng, 3, frame.size))
    return air


_BRANCHES = ((5.0, 0.018, 0.0, 0.50), (10.0, 0.011, 0.13, 0.65), (19.0, 0.007, 0.27, 0.78))
"""For each order of vessels: number in a half turn, half width, start and end as distances from the hilum."""

_STEPS = 1024  # steps per unit of length in the tables of vessels


def _vessels(chest: Chest, rng: np.random.Generator) -> Array:
    """Return the vessels of both lungs, partly hidden by the heart."""
    frame, radius = chest.frame, chest.from_hilum
    angle = np.arctan2(frame.y - chest.hilum_y, chest.from_midline - HILUM_X)
    angle += 0.30 * smooth_field(rng, 9, frame.size) * (0.25 + radius)
    angle += rng.uniform(0, 1) + rng.uniform(0, 1) * chest.on_side(1)
    vessels = branch(angle, radius)
    vessels *= rng.uniform(*difficulty.VESSELS) * chest.lung * (1 - 0.7 * chest.silhouette)
    return vessels


@cache
def _branch_tables() -> tuple[Array, list[tuple[float, Array, Array]]]:
    """Return tables over the distance from a hilum: its own density; for each order count, narrowness and density."""
    radius: Array = np.arange(2 * _STEPS, dtype=np.float32) / _STEPS
    orders: list[tuple[float, Array, Array]] = []
    for count, thickness, start, end in _BRANCHES:
        width = np.maximum(thickness * (1 - radius / end), 1e-4)
        narrow: Array = radius * (np.pi / count) / (width + 0.006)
        orders.append((count, narrow, 7 * np.sqrt(width) * np.clip((radius - start) * 8, 0, 1)))
    core: Array = 0.9 * np.exp(-((radius / 0.085) ** 2))
    return core, orders


def branch(angle: Array, radius: Array) -> Array:
    """Return vessels that leave a hilum, branch and taper: spokes of a wheel, warped if `angle` is."""
    place = (radius * _STEPS).astype(np.intp)
    core, orders = _branch_tables()
    vessels: Array = np.take(core, place, mode="clip")
    for count, narrow, weight in orders:
        turn = angle * (count / np.pi)
        turn -= np.rint(turn)
        turn *= np.take(narrow, place, mode="clip")
        band = bump(turn, 1.0)
        band *= np.take(weight, place, mode="clip")
        vessels += band
    return vessels


def _soft_tissue(chest: Chest, rng: np.random.Generator) -> Array:
    """Return neck, shoulders, trunk, arms, breasts and abdomen, without windpipe and stomach bubble."""
    frame = chest.frame
    across = chest.from_midline / frame.at_height(_outline(chest))
    tissue = chord(across * across)
    np.maximum(tissue, 0.6 * _arms(chest), out=tissue)
    tissue += 0.12 * soft(frame.y - chest.dome, 0.05) * (across < 1)
    tissue += _breasts(chest, rng)
    tissue -= 0.08 * soft(0.035 - np.abs(frame.x - 0.01), 0.02) * soft(chest.hilum_y - 0.06 - frame.y, 0.1)
    tissue -= _stomach_bubble(chest, rng)
    if rng.random() < difficulty.SKIN_FOLDS:
        tissue += _skin_fold(chest, rng)
    return tissue


def _outline(chest: Chest) -> Array:
    """Return half the width of the body over `HEIGHTS`, [1024]."""
    habitus = chest.scene.patient.habitus
    trunk, neck = chest.scene.patient.width + 0.13 + 0.22 * habitus, 0.24 + 0.07 * habitus
    widths = (
        (-1.60, neck),
        (-1.10, neck),
        (-0.95, neck + 0.12),
        (-0.75, 0.78),
        (-0.55, 1.05),
        (-0.25, 1.06),
        (0.10, trunk + 0.05),
        (0.50, trunk),
        (1.60, trunk + 0.02),
    )
    outline: Array = curve(widths, HEIGHTS)[0]
    return outline


def _arms(chest: Chest) -> Array:
    across = _arm_offset(chest) / (0.20 + 0.05 * chest.scene.patient.habitus)
    arms: Array = chord(across)
    arms *= chest.frame.y > -0.55
    return arms


def _breasts(chest: Chest, rng: np.random.Generator) -> Array:
    """Return the shadows of the breasts, with a sharper lower border; faint in men."""
    patient = chest.scene.patient
    weight = rng.uniform(0.04, 0.15) if patient.sex == "F" else rng.uniform(0.0, 0.05) * (1 + patient.habitus)
    size, height = rng.uniform(0.20, 0.34), rng.uniform(0.22, 0.42)
    x, y = (chest.from_midline - 0.62 * patient.width) / size, (chest.frame.y - height) / size
    breasts = weight * chord(np.sqrt(x * x + y * y))
    breasts *= np.clip(y + 1, 0, 1.4)
    return breasts


def _stomach_bubble(chest: Chest, rng: np.random.Generator) -> Array:
    """Return the gas under the left dome, missing in some patients."""
    width, height = rng.uniform(0.08, 0.17), rng.uniform(0.05, 0.10)
    weight = rng.uniform(0.12, 0.3) * (rng.random() < 0.7)
    x = (chest.frame.x - 0.42 * chest.scene.patient.width) / width
    y = (chest.frame.y - (chest.scene.domes[1] + 0.06 + height)) / height
    return weight * soft(1 - x * x - y * y, 0.6)


def _skin_fold(chest: Chest, rng: np.random.Generator) -> Array:
    """Return a line along one side of the chest that looks like the border of a lung but is crossed by vessels."""
    sign, tilt = int(rng.choice((-1, 1))), rng.uniform(0.1, 0.4)
    x = sign * chest.frame.x - rng.uniform(0.68, 0.9) * chest.scene.patient.width
    inward = tilt * (chest.frame.y + rng.uniform(0.0, 0.5)) - x
    fold: Array = soft(inward) * np.clip(1 - 12 * inward, 0, 1)
    fold *= rng.uniform(0.015, 0.035) * soft(0.3 - chest.frame.y, 0.2)
    return fold


def _bones(chest: Chest, rng: np.random.Generator) -> Array:
    """Return the thickness of all bones, [size, size]."""
    bone = _ribs(chest, rng) + _spine(chest, rng) + _collar_bones(chest, rng) + _shoulders(chest)
    bone *= chest.scene.patient.bone
    return bone


def _arm_offset(chest: Chest) -> Array:
    """Return the distance from the axis of the upper arm."""
    angle = chest.scene.arm_angle
    return (chest.from_midline - 1.02) * float(np.cos(angle)) - (chest.frame.y + 0.52) * float(np.sin(angle))


def _ribs(chest: Chest, rng: np.random.Generator) -> Array:
    """Return posterior and anterior ribs: each set is one periodic band along a curved coordinate."""
    frame, patient = chest.frame, chest.scene.patient
    outward = chest.from_midline / patient.width
    level = frame.y - (patient.apex + rng.uniform(0, 0.05))
    per_rib = 1 / (patient.rib_spacing * np.clip(0.8 + 0.3 * level, 0.7, 1.1))
    back = (level - patient.rib_slope * (0.30 * outward * outward - 0.10 * outward)) * per_rib
    front = (level - patient.rib_slope * (0.62 - 0.42 * outward) - 0.06) * per_rib
    back -= np.rint(back)
    front -= np.rint(front)
    posterior = hollow(back / 0.29) * (0.07 + 0.06 * outward * outward) * soft(chest.from_midline - 0.05, 0.04)
    anterior = hollow(front / 0.32) * (0.035 * np.clip(outward * 4 - 1.3, 0, 1))
    cage = soft(chest.wall + 0.035 - chest.from_midline, 0.03) * soft(frame.y - (patient.apex - 0.03), 0.05)
    cage *= 0.3 + 0.7 * soft(chest.dome - frame.y, 0.06)
    cage *= posterior + anterior
    return cage


def _spine(chest: Chest, rng: np.random.Generator) -> Array:
    """Return the spine, a little curved."""
    frame = chest.frame
    center = frame.x - rng.normal(0, 0.02) * np.sin(2.2 * frame.y)
    spine = rng.uniform(0.05, 0.10) * soft(0.085 - np.abs(center), 0.05)
    spine *= 0.7 + 0.3 * np.sin(frame.y * (2 * np.pi / 0.12))  # vertebrae and discs
    return spine


def _collar_bones(chest: Chest, rng: np.random.Generator) -> Array:
    """Return two S-shaped bones from the breastbone to the shoulders; they lie higher in an AP image."""
    rise, thickness, start = rng.uniform(0.05, 0.3), rng.uniform(0.026, 0.036), rng.uniform(0.10, 0.2)
    if chest.scene.view == "AP":
        rise, start = 0.5 * rise, start - 0.10
    reach = chest.from_midline - 0.07
    axis = chest.scene.patient.apex + start - rise * reach + 0.03 * np.sin(9 * reach)
    return hollow((chest.frame.y - axis) / thickness) * (0.10 * soft(reach) * soft(0.69 - reach, 0.2))


def _shoulders(chest: Chest) -> Array:
    """Return the shafts and heads of the upper arms, and the shoulder blades, which cover the lungs in an AP image."""
    x, y = chest.from_midline, chest.frame.y
    shaft = hollow(_arm_offset(chest) / 0.05) * (y > -0.5)
    head = soft(0.09 - length(x - 0.96, y + 0.56), 0.05)
    inner, density = (0.46, 0.06) if chest.scene.view == "AP" else (0.62, 0.035)
    outward = x - 0.12 * y - inner
    blade = inside(outward, inner + 0.26 - y - 1.2 * x, y + 0.58, 0.86 - x)
    blade *= density + 0.03 * np.clip(1 - 14 * outward, 0, 1)
    return 0.10 * shaft + 0.07 * head + blade
