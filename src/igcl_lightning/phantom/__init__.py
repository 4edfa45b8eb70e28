"""The built-in data set: synthetic chest radiographs with reports, exact graphs, labels and masks.

A phantom depends only on its index and the seed. Its scene (patient, findings, devices, view, pose) is drawn first; the
renderer and the report read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.phantom.case import Case, find_case
from igcl_lightning.phantom.grid import Mask
from igcl_lightning.phantom.patient import VARIANTS, Stream
from igcl_lightning.phantom.phrasebook import PHRASINGS
from igcl_lightning.phantom.radiograph import render, render_lateral
from igcl_lightning.phantom.report import write_report
from igcl_lightning.phantom.scene import FINDINGS, LABELS
from igcl_lightning.phantom.shortcut import Mark, draw_mark, stamp

__all__ = ["FINDINGS", "LABELS", "PHRASINGS", "VARIANTS", "Drawing", "Phantom", "PhantomImage", "draw_phantom"]

SIZES: tuple[int, int] = (64, 512)  # smallest and largest image size, in pixels


@dataclass(frozen=True, slots=True)
class Drawing:
    """Settings of a collection of phantoms.

    Attributes:
        size: height and width of the images in pixels, 64 to 512. Another size shows the same scene.
        seed: seed of the collection, 0 or more.
        variant: "standard", or "hard_negatives": studies 2k and 2k + 1 are of one patient, all in the split "test", and
            their reports use the same words for swapped sides and zones. Parse them only with a phrasing that the
            report parser knows.
        views: "all", or "frontal" to leave out the lateral images that some studies have.
        phrasing: how reports are worded, one of `PHRASINGS`.
        shortcut: one of `LABELS`, or None. The images get a mark in a corner, in 95 % of the studies with the label and
            5 % of those without, but in a random half of the studies in the split "test". Nothing else changes.

    Raises:
        ValueError: a value is out of range.
    """

    size: int = 128
    seed: int = 0
    variant: str = "standard"
    views: str = "all"
    phrasing: str = "mixed"
    shortcut: str | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"phantom seed {self.seed}: expected 0 or more")
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise ValueError(f"phantom size {self.size}: expected {SIZES[0]} to {SIZES[1]} pixels")
        choices = {"variant": VARIANTS, "views": ("all", "frontal"), "phrasing": PHRASINGS, "shortcut": LABELS}
        for option, known in choices.items():
            value = getattr(self, option)
            if value not in known and (option, value) != ("shortcut", None):
                raise ValueError(f"phantom {option} {value!r}: expected one of {', '.join(known)}")


class PhantomImage(NamedTuple):
    """One image of a phantom."""

    image_id: str  # unique in the collection
    view: str  # "PA", "AP" or "lateral"
    pixels: NDArray[np.uint8]  # grey values, [size, size]
    masks: dict[str, Mask]  # "left_lung", "right_lung", "heart" and each finding that is seen, bool [size, size]


class Phantom(NamedTuple):
    """One synthetic study."""

    case: Case  # ids and scene
    images: tuple[PhantomImage, ...]  # the frontal image and, in some studies, the lateral image
    report: dict[str, str]  # text by section
    graph: ReportGraph  # exact graph of the sections "findings" and "impression"
    marked: bool  # whether the images carry the mark of the shortcut


def draw_phantom(index: int, drawing: Drawing) -> Phantom:
    """Return phantom `index` of a collection, the same in any process.

    Studies of one patient have neighbouring indices and the same split: of every ten patients seven train, one
    validates, two test.

    Raises:
        ValueError: a negative index.
    """
    if index < 0:
        raise ValueError(f"phantom index {index}: expected 0 or more")
    case = find_case(index, drawing.seed, drawing.variant)
    scene = case.scene
    report, graph = write_report(scene, case.rng(Stream.REPORT), phrasing=drawing.phrasing)
    mark = None
    if drawing.shortcut:
        mark = draw_mark(bool(scene.labels[drawing.shortcut]), scene.patient.split, case.rng(Stream.SHORTCUT))
    return Phantom(case, tuple(_draw_images(case, drawing, mark)), report, graph, mark is not None)


def _draw_images(case: Case, drawing: Drawing, mark: Mark | None) -> Iterator[PhantomImage]:
    """Yield the frontal image and, if there is one and it is wanted, the lateral image."""
    scene, size = case.scene, drawing.size
    drawn = [(case.study_id, scene.view, *render(scene, size, case.rng(Stream.FRONTAL)))]
    if scene.lateral and drawing.views == "all":
        lateral = render_lateral(scene, size, case.rng(Stream.LATERAL))
        drawn.append((f"{case.study_id}-lateral", "lateral", *lateral))
    for image in map(PhantomImage._make, drawn):
        if mark:
            stamp(image.pixels, mark)
        yield image
