"""Devices in the frontal image: tubes, lines, wires and pacemakers.

Each function takes the device, the chest and a random generator. It yields parts: where a part lies, from 0 to 1
[size, size], and the thickness that it adds to the bones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.anatomy import Chest
from igcl_lightning.phantom.grid import HEIGHTS, Array, Frame, length, soft, stroke, trace
from igcl_lightning.phantom.pathologies import SIDE_SIGNS
from igcl_lightning.phantom.scene import Device

Part: TypeAlias = tuple[Array, float]
Points: TypeAlias = Sequence[tuple[float, float]]

CARINA = 0.08  # distance of the carina above the hila


def catheter(frame: Frame, points: Points) -> Part:
    """Return a thin tube through `points`."""
    return stroke(frame, trace(points, frame.size), 0.016), difficulty.CATHETER_LINE


def wire_loops(frame: Frame, x: Array, y: Array, tilt: Array) -> Part:
    """Return wires around the breastbone at (x, y), each [n]; `tilt` lifts one end."""
    angle = np.linspace(0, 2 * np.pi, 64)
    columns = x[:, None] + 0.038 * np.cos(angle)
    rows = y[:, None] + 0.018 * np.sin(angle) + tilt[:, None] * np.cos(angle)
    path = np.array([columns.ravel(), rows.ravel()], dtype=np.float32)
    return stroke(frame, path, 0.012), difficulty.WIRE


def tube(frame: Frame, points: Points) -> tuple[Part, Part]:
    """Return the dense stripe and the wall of a tube through `points`."""
    path = trace(points, frame.size)
    return (stroke(frame, path, 0.012), difficulty.CATHETER_LINE), (stroke(frame, path, 0.035), difficulty.TUBE)


def _endotracheal_tube(device: Device, chest: Chest, rng: np.random.Generator) -> Iterator[Part]:
    """A tube in the windpipe that ends above the carina."""
    x = 0.01 + 0.5 * chest.scene.mediastinal_shift
    tip = chest.hilum_y - CARINA - rng.uniform(0.05, 0.17)
    yield from tube(chest.frame, [(0.02, -1.2), (0.015, -0.9), (x, tip)])


def _nasogastric_tube(device: Device, chest: Chest, rng: np.random.Generator) -> Iterator[Part]:
    """A thin tube through the oesophagus into the stomach."""
    floor, shift = chest.scene.domes[1] + 0.06, chest.scene.mediastinal_shift
    bend = rng.uniform(-0.015, 0.015)
    path = [(0.03, -1.2), (0.035, -0.7), (0.03 + shift / 2, -0.2), (0.04 + bend + shift, 0.2), (0.09 + shift, floor)]
    path += [(0.2, floor + 0.13), (rng.uniform(0.3, 0.42), floor + rng.uniform(0.05, 0.22))]
    yield catheter(chest.frame, path)


def _central_catheter(device: Device, chest: Chest, rng: np.random.Generator) -> Iterator[Part]:
    """A line from the neck or below the collar bone into the superior vena cava, right of the midline."""
    sign, apex = SIDE_SIGNS[device.side][0], chest.scene.patient.apex
    cava = -0.10 + chest.scene.mediastinal_shift
    tip = chest.hilum_y + rng.uniform(-0.08, 0.10)
    if rng.random() < 0.6:
        path = [(sign * 0.24, apex - 0.5), (sign * 0.20, apex - 0.2), (sign * 0.15, apex + 0.02)]
    else:
        path = [(sign * 0.66, apex + 0.30), (sign * 0.46, apex + 0.13), (sign * 0.26, apex + 0.12)]
    crossing = [(0.0, apex + 0.22)] if sign > 0 else []
    path += [*crossing, (cava, 0.6 * (apex + 0.16) + 0.4 * tip), (cava - 0.005, tip)]
    yield catheter(chest.frame, path)


def _pacemaker(device: Device, chest: Chest, rng: np.random.Generator) -> Iterator[Part]:
    """A flat box under the skin below the collar bone, and one or two leads into the right heart."""
    sign, scene = SIDE_SIGNS[device.side][0], chest.scene
    x, y = sign * rng.uniform(0.46, 0.58), scene.patient.apex + rng.uniform(0.24, 0.36)
    width, height = rng.uniform(0.095, 0.115), rng.uniform(0.075, 0.09)
    across, down = np.square((chest.frame.x - x) * (1 / width)), np.square((chest.frame.y - y) * (1 / height))
    yield soft(1 - np.sqrt(length(across, down)), 0.2), difficulty.BOX
    cava, bottom = -0.10 + scene.mediastinal_shift, sum(scene.domes) / 2
    veins = [(x - 0.3 * sign * width, y - height), (sign * 0.30, y - 0.17), (sign * 0.12, y - 0.13)]
    veins += [(cava, y + 0.1), (cava - 0.01, chest.hilum_y + 0.1)]
    left = float(np.interp(bottom - 0.1, HEIGHTS, chest.borders[1]))
    leads = trace([*veins, (0.0, bottom - 0.06), (0.6 * left, bottom - 0.08)], chest.frame.size)
    if rng.random() < 0.6:
        atrium = [veins[-1], (cava - 0.02, bottom - 0.25), (cava + 0.03, bottom - 0.30)]
        leads = np.concatenate([leads, trace(atrium, chest.frame.size)], axis=1)
    yield stroke(chest.frame, leads, 0.015), difficulty.WIRE


def _sternotomy_wires(device: Device, chest: Chest, rng: np.random.Generator) -> Iterator[Part]:
    """Loops of wire in a row down the midline."""
    count = int(rng.integers(5, 8))
    y = chest.scene.patient.apex + rng.uniform(0.22, 0.32) + rng.uniform(0.11, 0.14) * np.arange(count)
    yield wire_loops(chest.frame, np.zeros(count), y, rng.uniform(-0.012, 0.012, size=count))


def _chest_tube(device: Device, chest: Chest, rng: np.random.Generator) -> Iterator[Part]:
    """A tube through the lateral wall, up to the apex for air, along the base for fluid."""
    sign, scene = SIDE_SIGNS[device.side][0], chest.scene
    dome, width = scene.domes[sign > 0], scene.patient.width
    path = [(width + 0.28, dome - 0.12), (width + 0.02, dome - rng.uniform(0.22, 0.30))]
    if scene.finding("Pneumothorax"):
        path += [(0.86 * width, -0.05), (0.62 * width, scene.patient.apex + rng.uniform(0.22, 0.32))]
    else:
        path += [(0.72 * width, dome - 0.10), (0.42 * width, dome - rng.uniform(0.0, 0.06))]
    yield from tube(chest.frame, [(sign * x, y) for x, y in path])


FRONTAL_DEVICES = {
    "endotracheal tube": _endotracheal_tube,
    "nasogastric tube": _nasogastric_tube,
    "central venous catheter": _central_catheter,
    "pacemaker": _pacemaker,
    "sternotomy wires": _sternotomy_wires,
    "chest tube": _chest_tube,
}
"""Drawing functions by kind of device."""
