"""Tissues of the frontal image without findings: aerated lung, vessels, soft tissue and bone.

Thickness is measured in chests: 1 is the attenuation of the body in the midline. Aerated lung reduces thickness.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.anatomy import HILUM_X, Chest
from igcl_lightning.phantom.grid import HEIGHTS, Array, bump, chord, curve, smooth_field, soft
from igcl_lightning.phantom.skeleton import arm_offset, draw_bones


@dataclass(slots=True, eq=False)
class Layers:
    """Thickness of each tissue in the beam, float32 [size, size]; findings change it in place.

    Attributes:
        air: thickness that aerated lung removes.
        vessels: vessels of the lungs.
        tissue: other soft tissue.
        bone: ribs, spine and shoulders.
    """

    air: Array
    vessels: Array
    tissue: Array
    bone: Array


def draw_anatomy(chest: Chest, rng: np.random.Generator) -> Layers:
    """Return the layers of a chest without findings."""
    return Layers(_air(chest, rng), _vessels(chest, rng), _soft_tissue(chest, rng), draw_bones(chest, rng))


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

_STEPS = 1024
"""Steps per unit of length in the tables of vessels."""


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
    across = arm_offset(chest) / (0.20 + 0.05 * chest.scene.patient.habitus)
    arms: Array = chord(across)
    arms *= chest.frame.y > -0.55
    return arms


def _breasts(chest: Chest, rng: np.random.Generator) -> Array:
    """Return two shadows with a sharper lower border; faint in men."""
    patient = chest.scene.patient
    weight = rng.uniform(0.04, 0.15) if patient.sex == "F" else rng.uniform(0.0, 0.05) * (1 + patient.habitus)
    size, height = rng.uniform(0.20, 0.34), rng.uniform(0.22, 0.42)
    x, y = (chest.from_midline - 0.62 * patient.width) / size, (chest.frame.y - height) / size
    breasts = weight * chord(np.sqrt(x * x + y * y))
    breasts *= np.clip(y + 1, 0, 1.4)
    return breasts


def _stomach_bubble(chest: Chest, rng: np.random.Generator) -> Array:
    """Return the gas under the left dome, which some patients do not have."""
    width, height = rng.uniform(0.08, 0.17), rng.uniform(0.05, 0.10)
    weight = rng.uniform(0.12, 0.3) * (rng.random() < 0.7)
    x = (chest.frame.x - 0.42 * chest.scene.patient.width) / width
    y = (chest.frame.y - (chest.scene.domes[1] + 0.06 + height)) / height
    return weight * soft(1 - x * x - y * y, 0.6)


def _skin_fold(chest: Chest, rng: np.random.Generator) -> Array:
    """Return a line down one side of the chest that looks like the border of a lung, except that vessels cross it."""
    sign, tilt = int(rng.choice((-1, 1))), rng.uniform(0.1, 0.4)
    x = sign * chest.frame.x - rng.uniform(0.68, 0.9) * chest.scene.patient.width
    inward = tilt * (chest.frame.y + rng.uniform(0.0, 0.5)) - x
    fold: Array = soft(inward) * np.clip(1 - 12 * inward, 0, 1)
    fold *= rng.uniform(0.015, 0.035) * soft(0.3 - chest.frame.y, 0.2)
    return fold
