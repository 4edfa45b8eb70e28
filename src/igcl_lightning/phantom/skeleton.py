"""Bones of the frontal image, as thickness in chests: ribs, spine, collar bones, shoulder blades and upper arms."""

from __future__ import annotations

import numpy as np

from igcl_lightning.phantom.anatomy import Chest
from igcl_lightning.phantom.grid import Array, inside, length, soft


def draw_bones(chest: Chest, rng: np.random.Generator) -> Array:
    """Return the thickness of all bones, [size, size]."""
    bone = _ribs(chest, rng) + _spine(chest, rng) + _collar_bones(chest, rng) + _shoulders(chest)
    bone *= chest.scene.patient.bone
    return bone


def hollow(across: Array) -> Array:
    """Return the profile of a hollow bone over |across| < 1, denser at its borders than in the middle."""
    square = across * across
    wall: Array = 3 - 3 * square
    np.clip(wall, 0, 1, out=wall)
    wall *= 0.72 + 0.28 * square
    return wall


def arm_offset(chest: Chest) -> Array:
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
    shaft = hollow(arm_offset(chest) / 0.05) * (y > -0.5)
    head = soft(0.09 - length(x - 0.96, y + 0.56), 0.05)
    inner, density = (0.46, 0.06) if chest.scene.view == "AP" else (0.62, 0.035)
    outward = x - 0.12 * y - inner
    blade = inside(outward, inner + 0.26 - y - 1.2 * x, y + 0.58, 0.86 - x)
    blade *= density + 0.03 * np.clip(1 - 14 * outward, 0, 1)
    return 0.10 * shaft + 0.07 * head + blade
