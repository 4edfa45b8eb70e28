"""The grey image of a scene: attenuation, scatter, noise, window and the marks of the examination."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.phantom import difficulty
from igcl_lightning.phantom.anatomy import Chest, build_chest
from igcl_lightning.phantom.course import pick
from igcl_lightning.phantom.devices import FRONTAL_DEVICES, Part
from igcl_lightning.phantom.findings import FRONTAL_FINDINGS
from igcl_lightning.phantom.grid import Array, Mask, patient_frame, spline_basis
from igcl_lightning.phantom.lateral import LateralChest, build_lateral_chest, draw_lateral_anatomy
from igcl_lightning.phantom.lateral_findings import LATERAL_DEVICES, LATERAL_FINDINGS
from igcl_lightning.phantom.organs import Layers, draw_anatomy
from igcl_lightning.phantom.scene import Device, Finding, Scene

C = TypeVar("C", Chest, LateralChest)
DrawFinding: TypeAlias = Callable[[Finding, C, Layers, np.random.Generator], Array]
DrawDevice: TypeAlias = Callable[[Device, C, np.random.Generator], Iterator[Part]]


def render(scene: Scene, size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], dict[str, Mask]]:
    """Draw `scene`.

    Returns:
        The image, uint8 [size, size], and the masks by name, bool [size, size]: "left_lung", "right_lung", "heart" and
        each finding that is present.
    """
    chest = build_chest(scene, patient_frame(scene.shift, scene.zoom, scene.rotation, size))
    layers = draw_anatomy(chest, rng)
    regions = _add_contents(chest, layers, FRONTAL_FINDINGS, FRONTAL_DEVICES, rng)
    lungs = (chest.lung > 0.5) & (chest.silhouette < 0.3)
    organs = {
        "left_lung": lungs & chest.on_side(1),
        "right_lung": lungs & chest.on_side(-1),
        "heart": chest.heart > 0.5,
    }
    return expose(layers, scene.view, rng), organs | regions


def render_lateral(scene: Scene, size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], dict[str, Mask]]:
    """Draw the lateral image of `scene`, the patient facing left.

    Returns:
        Image and masks as in `render`; the masks of the lungs overlap, and a finding that is not seen from the side has
        none.
    """
    shift = rng.uniform(*difficulty.SHIFT), rng.uniform(*difficulty.SHIFT)
    pose = shift, rng.uniform(*difficulty.ZOOM["PA"]), rng.uniform(*difficulty.ROTATION)
    chest = build_lateral_chest(scene, patient_frame(*pose, size))
    layers = draw_lateral_anatomy(chest, rng)
    regions = _add_contents(chest, layers, LATERAL_FINDINGS, LATERAL_DEVICES, rng)
    right, left = (lung > 0.5 for lung in chest.lungs)
    organs = {"left_lung": left, "right_lung": right, "heart": chest.heart > 0.5}
    return expose(layers, "lateral", rng), organs | regions


def _add_contents(
    chest: C,
    layers: Layers,
    findings: Mapping[str, DrawFinding[C] | None],
    devices: Mapping[str, DrawDevice[C]],
    rng: np.random.Generator,
) -> dict[str, Mask]:
    """Draw the findings and devices of the scene into `layers`; return the region of each visible one by name."""
    scene, regions = chest.scene, {}
    if missing := [finding.name for finding in scene.findings if finding.name not in findings]:
        raise ValueError(f"{missing[0]}: no entry in FRONTAL_FINDINGS or LATERAL_FINDINGS, add its drawing function")
    for name, draw in findings.items():
        if draw and (finding := scene.finding(name)):
            regions[name] = draw(finding, chest, layers, rng) > 0.5
    if scene.devices:
        regions["Support Devices"] = np.zeros(layers.bone.shape, dtype=bool)
    for device in scene.devices:
        for part, thickness in devices[device.kind](device, chest, rng):
            layers.bone += thickness * part
            regions["Support Devices"] |= part > 0.5
    return regions


def expose(layers: Layers, view: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image, uint8 [size, size]: Beer-Lambert attenuation, scatter, log response, window and noise."""
    size = layers.tissue.shape[0]
    thickness = layers.tissue - layers.air
    thickness += layers.vessels
    thickness += layers.bone
    np.maximum(thickness, 0, out=thickness)
    penetration = rng.uniform(*difficulty.PENETRATION)
    light = np.exp(-penetration * thickness)
    in_bed = view == "AP"
    light += (rng.uniform(*difficulty.SCATTER) + difficulty.AP_SCATTER * in_bed) * _scatter(light)
    level = np.log(light)
    level *= -1 / penetration
    grey = _develop(level, 3.6 / (difficulty.AP_WINDOW if in_bed else 1), rng)
    _collimate(grey, rng)
    _mark_side(grey, "L" if view == "lateral" or rng.random() < 0.7 else "R", rng)
    grey += rng.uniform(*difficulty.NOISE) * _noise(size, rng)
    return (np.clip(grey, 0, 1, out=grey) * 255).astype(np.uint8)


LEVELS: Array = np.linspace(-0.5, 2.5, 3001, dtype=np.float32)
"""Thicknesses, in chests, at which the curve from thickness to grey is tabulated, [3001]."""


def _develop(level: Array, contrast: float, rng: np.random.Generator) -> Array:
    """Return grey values, 0 to 1, after window, level and gamma; a table is faster than computing them."""
    center = 0.60 + rng.uniform(*difficulty.WINDOW_CENTER)
    contrast /= rng.uniform(*difficulty.WINDOW_WIDTH)
    film = (1 / (1 + np.exp((center - LEVELS) * contrast)) - 0.13) * (1 / 0.77)
    film = np.clip(film, 1e-4, 1) ** rng.uniform(*difficulty.GAMMA)
    place = (level - LEVELS[0]) * ((len(LEVELS) - 1) / (LEVELS[-1] - LEVELS[0]))
    grey: Array = np.take(film, place.astype(np.intp), mode="clip")
    return grey


def _noise(size: int, rng: np.random.Generator) -> Array:
    """Return noise of mean 0 and variance 1: sums of four bytes, nearly normal at a third of the cost."""
    draws = np.frombuffer(rng.bytes(4 * size * size), dtype=np.uint8).reshape(4, size, size)
    total: Array = draws.sum(axis=0, dtype=np.float32)
    total -= 4 * 127.5
    total *= (4 * (256**2 - 1) / 12) ** -0.5
    return total


def _scatter(light: Array) -> Array:
    """Return `light` blurred over about a tenth of the image."""
    narrow, wide = _blur_bases(light.shape[0])
    return wide @ (narrow @ light @ narrow.T) @ wide.T


@lru_cache(maxsize=8)
def _blur_bases(size: int) -> tuple[Array, Array]:
    """Return matrices that average a line into 20 broad cells, [20, size], and spread it back, [size, 20]."""
    wide = spline_basis(17, size)
    return (wide / wide.sum(axis=0)).T, wide


def _collimate(grey: Array, rng: np.random.Generator) -> None:
    """Draw unexposed borders at some edges of some images, in place."""
    size = grey.shape[0]
    widths = (rng.uniform(0.0, 0.07, size=4) * (rng.random(4) < 0.25) * size).round().astype(int)
    shade = (0.0, 0.03, 0.95)[pick((0.6, 0.3, 0.1), rng)]
    top, bottom, left, right = widths.tolist()
    grey[:top] = shade
    grey[size - bottom :] = shade
    grey[:, :left] = shade
    grey[:, size - right :] = shade


_GLYPHS = {
    "L": np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1]], dtype=bool),
    "R": np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 1], [1, 0, 1]], dtype=bool),
}


def _mark_side(grey: Array, letter: str, rng: np.random.Generator) -> None:
    """Draw the technologist's side marker beside the shoulder: L on the patient's left, R on the right."""
    left, top = rng.uniform(0.86, 0.93), rng.uniform(0.03, 0.22)
    cell, brightness = rng.uniform(0.010, 0.015), rng.uniform(0.75, 1.0)
    if letter == "R":
        left = 1 - left
    size = grey.shape[0]
    glyph = _GLYPHS[letter]
    rows = ((np.arange(size) + 0.5) / size - top) / cell
    columns = ((np.arange(size) + 0.5) / size - left) / cell
    inside_rows, inside_columns = (rows >= 0) & (rows < 5), (columns >= 0) & (columns < 3)
    ink = glyph[np.ix_(rows[inside_rows].astype(int), columns[inside_columns].astype(int))]
    patch = grey[np.ix_(inside_rows, inside_columns)]
    grey[np.ix_(inside_rows, inside_columns)] = np.where(ink, brightness, patch)
