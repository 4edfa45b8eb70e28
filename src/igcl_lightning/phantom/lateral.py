"""Geometry and tissues of the lateral image, the patient facing left. Lengths are in half image widths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.grid import (
    HEIGHTS,
    Array,
    Frame,
    bump,
    chord,
    curve,
    hollow,
    inside,
    length,
    smooth_field,
    soft,
)
from igcl_lightning.phantom.organs import Layers, branch
from igcl_lightning.phantom.scene import Scene

DOME_TOP = 0.38  # place of the highest point of the domes, from the front (0) to the back (1) of the lungs
DOME_FALL = 0.72  # steepness of the fall of the domes from there

HILUM_X = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class LateralChest:
    """Geometry of one scene from the side; arrays are float32 [size, size]."""

    frame: Frame  # coordinates of the pixels; x runs from the front (negative) to the back
    scene: Scene  # contents of the image
    front: Array  # x of the front of the lungs
    front_profile: Array  # the same over `HEIGHTS`, [1024]
    back: Array  # x of the back of the lungs
    along: Array  # 0 at the front of the lungs, 1 at their back
    domes: tuple[Array, Array]  # height y of the right and the left diaphragm
    lungs: tuple[Array, Array]  # the right and the left lung, 0 outside to 1 inside
    heart: Array  # the heart, 0 outside to 1 inside
    silhouette: Array  # the heart, highest in its middle
    hilum_y: float  # height of the hila
    from_hilum: Array  # distance from the hila


_LUNG_BORDERS = (  # from the apex (0) to the diaphragm (1): front and back of the lungs
    (-0.80, 0.00, 0.12),
    (-0.03, -0.02, 0.12),
    (0.06, -0.12, 0.23),
    (0.18, -0.25, 0.34),
    (0.42, -0.41, 0.46),
    (0.70, -0.49, 0.49),
    (1.00, -0.50, 0.44),
    (1.30, -0.47, 0.37),
    (2.50, -0.40, 0.30),
)


def build_lateral_chest(scene: Scene, frame: Frame) -> LateralChest:
    """Return the organs of `scene` on the pixels of `frame`."""
    apex, floor = scene.patient.apex, sum(scene.domes) / 2
    borders = curve(_LUNG_BORDERS, (HEIGHTS - apex) / (floor - apex)) * (scene.patient.width / 0.64)
    front, back = frame.at_height(borders[0]), frame.at_height(borders[1])
    along = (frame.x - front) / (back - front)
    fall = DOME_FALL * np.square(along - DOME_TOP)
    right, left = (top + fall for top in scene.domes)
    chest_wall = np.minimum(frame.x - front, back - frame.x)
    below_apex = soft(frame.y - apex, 0.06)
    hilum_y = apex + 0.43 * (floor - apex)
    radius = _from_heart(scene, frame)
    return LateralChest(
        frame=frame,
        scene=scene,
        front=front,
        front_profile=borders[0],
        back=back,
        along=along,
        domes=(right, left),
        lungs=(below_apex * inside(chest_wall, right - frame.y), below_apex * inside(chest_wall, left - frame.y)),
        heart=soft(1 - radius, 0.1),
        silhouette=np.minimum(1.25 * chord(radius * (1 / 1.08)), 1),
        hilum_y=hilum_y,
        from_hilum=length(frame.x - HILUM_X, frame.y - hilum_y),
    )


def _from_heart(scene: Scene, frame: Frame) -> Array:
    """Return the distance from the middle of the heart, an egg in front and below, 1 at its border."""
    size = scene.heart_ratio / 0.46
    x, y = frame.x + 0.25 - 0.16 * (size - 1), frame.y - (scene.domes[1] - 0.16 - 0.08 * (size - 1))
    along, across = 0.75 * y - 0.66 * x, 0.75 * x + 0.66 * y
    return length(along * (1 / (0.36 * size)), across * (1 / (0.265 * size)))


def draw_lateral_anatomy(chest: LateralChest, rng: np.random.Generator) -> Layers:
    """Return the layers of a chest without findings."""
    return Layers(_air(chest, rng), _vessels(chest, rng), _soft_tissue(chest, rng), _bones(chest, rng))


def _air(chest: LateralChest, rng: np.random.Generator) -> Array:
    """Return the overlapping lungs, without the heart, the great vessels above it and the aortic arch."""
    frame = chest.frame
    air = (0.5 * (chest.lungs[0] + chest.lungs[1])) * chord(1.75 * (chest.along - 0.5))
    depth = (frame.y - chest.scene.patient.apex) / (chest.hilum_y - chest.scene.patient.apex)
    air *= np.clip(0.25 + 0.75 * depth, 0, 1)
    arch = bump(length(frame.x - 0.05, frame.y - chest.hilum_y + 0.15) - 0.10, 0.07) * soft(0.19 - frame.x, 0.1)
    stem = bump(frame.x + 0.04 + 0.35 * (frame.y - chest.hilum_y), 0.30) * soft(
        chest.scene.domes[1] - 0.1 - frame.y, 0.2
    )
    air *= (1 - 0.68 * chest.silhouette) * (1 - 0.28 * stem) * (1 - 0.2 * arch)
    haze = rng.uniform(*difficulty.HAZE)
    air *= rng.uniform(*difficulty.LUNG_AIR) * (0.95 - haze - 0.6 * haze * smooth_field(rng, 3, frame.size))
    return air


def _vessels(chest: LateralChest, rng: np.random.Generator) -> Array:
    frame = chest.frame
    angle = np.arctan2(frame.y - chest.hilum_y, frame.x - HILUM_X)
    angle += 0.55 * smooth_field(rng, 8, frame.size) * (0.3 + chest.from_hilum) + rng.uniform(0, 1)
    vessels: Array = 0.6 * branch(angle, chest.from_hilum) + 0.5 * np.exp(-((chest.from_hilum / 0.16) ** 2))
    vessels += 0.10 * smooth_field(rng, 26, frame.size)
    vessels *= rng.uniform(*difficulty.VESSELS) * np.maximum(*chest.lungs) * (1 - 0.7 * chest.silhouette)
    return vessels


def _soft_tissue(chest: LateralChest, rng: np.random.Generator) -> Array:
    """Return trunk, raised arms, shoulders, breasts and abdomen, without windpipe and gas."""
    frame, patient = chest.frame, chest.scene.patient
    front, back = _outline(chest)
    tissue = chord((2 * frame.x - front - back) / (back - front))
    arm = chord((0.80 * (frame.x + 0.05) - 0.60 * (frame.y + 0.80)) / 0.27) * soft(-0.62 - frame.y, 0.2)
    np.maximum(tissue, arm, out=tissue)
    tissue += 0.22 * soft(-0.56 - frame.y + 0.25 * frame.x, 0.35) * (tissue > 0)
    for dome in chest.domes:
        tissue += 0.10 * soft(frame.y - dome, 0.05) * (tissue > 0)
    if patient.sex == "F":
        x, y = (frame.x - chest.front + 0.02) / 0.22, (frame.y - rng.uniform(0.16, 0.32)) / rng.uniform(0.18, 0.28)
        tissue += rng.uniform(0.05, 0.18) * chord(length(x, y))
    windpipe = frame.x - 0.03 - 0.06 * (frame.y - chest.hilum_y)
    tissue -= 0.10 * soft(0.035 - np.abs(windpipe), 0.02) * soft(chest.hilum_y - frame.y, 0.08)
    tissue -= _gas(chest, rng)
    return tissue


def _outline(chest: LateralChest) -> tuple[Array, Array]:
    """Return x of the skin in front and behind, each [size, size]."""
    patient = chest.scene.patient
    fat, scale = 0.10 + 0.16 * patient.habitus, patient.width / 0.64
    belly = 0.10 * patient.habitus
    points = (
        (-1.60, -0.30, 0.40),
        (-0.95, -0.28, 0.44),
        (-0.70, -0.30 * scale, 0.50 * scale + 0.5 * fat),
        (-0.45, -0.40 * scale, 0.55 * scale + 0.6 * fat),
        (-0.10, -0.48 * scale - 0.5 * fat, 0.60 * scale + 0.6 * fat),
        (0.25, -0.53 * scale - 0.6 * fat, 0.60 * scale + 0.6 * fat),
        (0.65, -0.53 * scale - 0.6 * fat, 0.54 * scale + 0.6 * fat),
        (1.00, -0.52 * scale - 0.6 * fat - belly, 0.46 * scale + 0.6 * fat),
        (1.60, -0.52 * scale - 0.6 * fat - belly, 0.48 * scale + 0.6 * fat),
    )
    front, back = curve(points, HEIGHTS)
    return chest.frame.at_height(front), chest.frame.at_height(back)


def _gas(chest: LateralChest, rng: np.random.Generator) -> Array:
    """Return the gas of stomach and bowel under the left dome."""
    gas = np.zeros_like(chest.heart)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-0.38, 0.08), chest.scene.domes[1] + rng.uniform(0.13, 0.32)
        width, height = rng.uniform(0.05, 0.13), rng.uniform(0.04, 0.08)
        bubble = soft(1 - ((chest.frame.x - x) / width) ** 2 - ((chest.frame.y - y) / height) ** 2, 0.6)
        np.maximum(gas, rng.uniform(0.08, 0.22) * bubble, out=gas)
    return gas


def _bones(chest: LateralChest, rng: np.random.Generator) -> Array:
    """Return spine, breastbone, and ribs that slope down to the front."""
    frame, patient = chest.frame, chest.scene.patient
    spine_x = (frame.x - chest.back + 0.15) / 0.085
    vertebra = frame.y * (1 / rng.uniform(0.125, 0.14)) + 0.25 * spine_x * 0.3
    vertebra -= np.rint(vertebra)
    bone = rng.uniform(0.11, 0.15) * soft(1 - np.abs(spine_x), 0.4) * (0.35 + 0.65 * hollow(vertebra / 0.42))
    sternum_x = frame.x - chest.front + 0.045
    bone += 0.12 * hollow(sternum_x / 0.032) * soft(frame.y + 0.52, 0.05) * soft(0.30 - frame.y, 0.05)
    wall = 0.4 + 0.6 * np.clip(2.6 * np.abs(chest.along - 0.5) - 0.3, 0, 1)
    cage = inside(chest.along + 0.08, 1.10 - chest.along, frame.y - patient.apex, width=0.05) * wall
    for offset, spacing in ((0.0, 1.0), (rng.uniform(0.2, 0.8), 1.07)):
        level = frame.y + (0.55 * patient.rib_slope) * frame.x - 0.35 * frame.x * frame.x
        rib = level * (1 / (patient.rib_spacing * spacing)) + offset
        rib -= np.rint(rib)
        bone += 0.065 * cage * hollow(rib / 0.27)
    bone *= patient.bone
    return bone
