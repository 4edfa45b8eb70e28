"""The embedded default data: procedural chest radiographs with reports, exact graphs, labels and masks.

Everything about a study follows from its index and the seed. The scene (patient, findings, devices, view, pose) is
drawn first; the renderer and the report read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.phantom.case import Case, find_case
from igcl_lightning.phantom.patient import VARIANTS
from igcl_lightning.phantom.radiograph import render, render_lateral
from igcl_lightning.phantom.report import PHRASINGS, write_report
from igcl_lightning.phantom.scene import FINDINGS, LABELS
from igcl_lightning.phantom.shortcut import Mark, mark_of, stamp

__all__ = ["FINDINGS", "LABELS", "PHRASINGS", "VARIANTS", "phantom_study"]

SIZES: tuple[int, int] = (64, 512)
"""Smallest and largest image size, in pixels."""

IMAGE_VIEWS: tuple[str, ...] = ("all", "frontal")


def phantom_study(
    index: int,
    *,
    seed: int = 0,
    size: int = 128,
    variant: str = "standard",
    shortcut: str | None = None,
    views: str = "all",
    phrasing: str = "mixed",
) -> Study:
    """Return phantom study `index`.

    The same index and seed give the same study, in any process; another size shows the same scene. Studies of one
    patient have neighbouring indices and the same split: of every ten patients seven train, one validates, two test.

    Args:
        index: 0 or more.
        seed: 0 or more; another seed is another collection.
        size: height and width of the images in pixels, 64 to 512.
        variant: "standard", or "hard_negatives": studies 2k and 2k + 1 are of one patient, all in the split "test",
            and their reports say the same words of swapped sides and zones. Let the parser read these only in a
            phrasing that it knows.
        shortcut: one of `LABELS`, with which a mark in the corner of the images then goes: it is there in 95 % of the
            studies with the label and 5 % of those without, but at random in half of the studies of the split "test".
            `Study.extra` tells where it is; nothing else of the study changes.
        views: "all", or "frontal" to leave out the lateral images that some studies have.
        phrasing: how the report is worded, one of `PHRASINGS`.

    Raises:
        ValueError: an argument is out of range.
    """
    _check_numbers(index, seed, size)
    _check_choices(variant=(variant, VARIANTS), views=(views, IMAGE_VIEWS), phrasing=(phrasing, PHRASINGS))
    if shortcut is not None:
        _check_choices(shortcut=(shortcut, LABELS))
    case = find_case(index, seed, variant)
    scene = case.scene
    report, graph = write_report(scene, case.report_rng, phrasing=phrasing)
    mark = mark_of(bool(scene.labels[shortcut]), scene.patient.split, case.shortcut_rng) if shortcut else None
    return Study(
        study_id=case.study_id,
        patient_id=case.patient_id,
        images=tuple(_images(case, size, views, mark)),
        report=report,
        graph=graph,
        labels=scene.labels,
        split=scene.patient.split,
        age=scene.patient.age,
        sex=scene.patient.sex,
        extra={} if shortcut is None else {"shortcut": str(int(mark is not None))},
    )


def _check_numbers(index: int, seed: int, size: int) -> None:
    if index < 0:
        raise ValueError(f"phantom index {index}: expected 0 or more")
    if seed < 0:
        raise ValueError(f"phantom seed {seed}: expected 0 or more")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"phantom size {size}: expected {SIZES[0]} to {SIZES[1]} pixels")


def _check_choices(**choices: tuple[str | None, Sequence[str | None]]) -> None:
    for option, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"phantom {option} {value!r}: expected one of {', '.join(map(str, known))}")


def _images(case: Case, size: int, views: str, mark: Mark | None) -> Iterator[StudyImage]:
    """Yield the frontal image and, if there is one and it is wanted, the lateral image."""
    drawn = [(case.study_id, case.scene.view, *render(case.scene, size, case.frontal_rng))]
    if case.scene.lateral and views == "all":
        drawn.append((f"{case.study_id}-lateral", "lateral", *render_lateral(case.scene, size, case.lateral_rng)))
    for image_id, view, pixels, masks in drawn:
        if mark:
            stamp(pixels, mark)
        yield StudyImage(image_id=image_id, source=pixels, view=view, masks=masks)
