"""Geometry of the chest in the frontal image: lungs, heart, mediastinum and diaphragm as pixel maps.

Lengths are in half image widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.grid import HEIGHTS, Array, Frame, Mask, chord, curve, inside, length, soft
from igcl_lightning.phantom.scene import Scene

ANGLE_DEPTH = 0.17  # depth of the costophrenic angle below the top of the dome
HILUM_X = 0.13  # distance of the hila from the midline


@dataclass(frozen=True, slots=True, eq=False)
class Chest:
    """Geometry of one scene; arrays are float32 [size, size], regions run from 0 outside to 1 inside."""

    frame: Frame  # coordinates of the pixels
    scene: Scene  # contents of the image
    from_midline: Array  # distance from the midline
    wall: Array  # distance of the lateral lung border from the midline
    wall_profile: Array  # the same over `HEIGHTS`, [1024]
    depth: Array  # 0 at the apex of the lung, 1 at the costophrenic angle
    dome: Array  # height y of the diaphragm
    lung: Array  # both lungs, including the parts behind the heart
    silhouette: Array  # heart and mediastinum, highest in their middle
    heart: Array  # the heart alone
    borders: tuple[Array, Array]  # right and left border of the silhouette, as `wall_profile`
    hilum_y: float  # height of the hila
    from_hilum: Array  # distance from the hilum of the same side

    def on_side(self, sign: int) -> Mask:
        """Return the pixels of one side of the patient: -1 right, 1 left."""
        return self.frame.x * sign > 0


def build_chest(scene: Scene, frame: Frame) -> Chest:
    """Return the organs of `scene` on the pixels of `frame`."""
    patient = scene.patient
    depth_span = max(scene.domes) + ANGLE_DEPTH - patient.apex
    depth_profile = (HEIGHTS - patient.apex) / depth_span
    opening = np.clip(depth_profile / 0.7, 0, 1)
    wall_profile = patient.width * (1 - (1 - opening) ** 2.4) ** 0.43 + 0.001
    medial_profile = 0.07 + 0.22 * np.exp(-np.maximum(depth_profile, -0.1) / 0.07)
    from_midline, wall = np.abs(frame.x), frame.at_height(wall_profile)
    dome = _diaphragm(scene, frame, from_midline)
    lung = inside(wall - from_midline, from_midline - frame.at_height(medial_profile), dome - frame.y)
    borders = _borders(scene)
    silhouette, heart = _heart(scene, frame, borders)
    hilum_y = patient.apex + 0.43 * (sum(scene.domes) / 2 - patient.apex)
    return Chest(
        frame=frame,
        scene=scene,
        from_midline=from_midline,
        wall=wall,
        wall_profile=wall_profile,
        depth=(frame.y - patient.apex) / depth_span,
        dome=dome,
        lung=lung,
        silhouette=silhouette,
        heart=heart,
        borders=borders,
        hilum_y=hilum_y,
        from_hilum=length(from_midline - HILUM_X, frame.y - hilum_y),
    )


def _diaphragm(scene: Scene, frame: Frame, from_midline: Array) -> Array:
    """Return the height y of the diaphragm, which falls to the angles at the wall and a little towards the heart."""
    right, left = scene.domes
    outward = from_midline / (0.48 * scene.patient.width) - 0.52 / 0.48
    dome = right + (left - right) * soft(frame.x, 0.3)
    dome += outward * outward * (0.08 + (ANGLE_DEPTH - 0.08) * (outward > 0))
    return dome


def _borders(scene: Scene) -> tuple[Array, Array]:
    """Return the right and the left border of heart and mediastinum over `HEIGHTS`, as distances from the midline."""
    patient = scene.patient
    width = 2 * patient.width * scene.heart_ratio
    left, right = width * patient.heart_tilt, width * (1 - patient.heart_tilt)
    vessel = 0.12 * difficulty.AP_MEDIASTINUM if scene.view == "AP" else 0.12
    points = (  # from the apex of the lung (0) to the diaphragm (1): left and right border
        (-0.60, vessel, vessel),
        (0.00, 0.85 * vessel, 0.85 * vessel),
        (0.15, 0.92 * vessel, 0.92 * vessel),
        (0.31, vessel + patient.knob, vessel),  # aortic knob
        (0.42, vessel, 0.92 * vessel),  # aortopulmonary window
        (0.50, 0.16, vessel),
        (0.60, 0.54 * left, 0.74 * right),  # left atrial appendage
        (0.72, 0.82 * left, 0.93 * right),
        (0.85, left, right),  # left ventricle, right atrium
        (0.97, 0.96 * left, 0.96 * right),
        (1.10, 0.75 * left, 0.80 * right),
        (1.40, 0.20, 0.15),
        (2.50, 0.20, 0.15),
    )
    left_border, right_border = curve(points, _heart_fraction(scene))
    return right_border - scene.mediastinal_shift, left_border + scene.mediastinal_shift


def _heart_fraction(scene: Scene) -> Array:
    """Return 0 at the apex of the lung to 1 at the diaphragm below the heart, over `HEIGHTS`."""
    apex = scene.patient.apex
    fraction: Array = (HEIGHTS - apex) / (sum(scene.domes) / 2 + 0.07 - apex)
    return fraction


def _heart(scene: Scene, frame: Frame, borders: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the silhouette of heart and mediastinum, and the heart alone."""
    right, left = borders
    across = (frame.x - frame.at_height((left - right) / 2)) / frame.at_height((left + right) / 2)
    fraction = _heart_fraction(scene)
    is_heart = ((fraction > 0.47) & (fraction < 1.1)).astype(np.float32)
    return np.minimum(1.5 * chord(across), 1), soft(1 - np.abs(across), 0.05) * frame.at_height(is_heart)
