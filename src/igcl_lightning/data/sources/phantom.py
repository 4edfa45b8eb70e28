"""The phantom as a source: studies in order of their index."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.phantom import LABELS, Drawing, draw_phantom


def phantom_study(index: int, **drawing: Any) -> Study:
    """Return phantom study `index`, the same in any process; `drawing` are fields of `Drawing`, such as `size=64`.

    Raises:
        ValueError: an argument is out of range.
    """
    how = Drawing(**drawing)
    phantom = draw_phantom(index, how)
    scene = phantom.case.scene
    return Study(
        study_id=phantom.case.study_id,
        patient_id=phantom.case.patient_id,
        images=tuple(
            StudyImage(image_id=image.image_id, source=image.pixels, view=image.view, masks=image.masks)
            for image in phantom.images
        ),
        report=phantom.report,
        graph=phantom.graph,
        labels=scene.labels,
        split=scene.patient.split,
        age=scene.patient.age,
        sex=scene.patient.sex,
        extra={"shortcut": str(int(phantom.marked))} if how.shortcut else {},
    )


def phantom_source(count: int, *, masks: bool = False, **drawing: Any) -> Source:
    """Return the first `count` phantom studies as a source, drawn in the processes that prepare them.

    Args:
        count: number of studies.
        masks: keep the masks of organs, findings and devices.
        drawing: fields of `Drawing`, such as `size=64`.

    Raises:
        IgclError: an argument is out of range.
    """
    if count < 1:
        raise IgclError(f"--count is {count}, not at least 1")
    try:
        settings = asdict(Drawing(**drawing))
    except ValueError as error:
        raise IgclError(str(error)) from error
    return Source(
        name="phantom",
        items=lambda: (partial(phantom_study, index, **settings) for index in range(count)),
        labels=LABELS,
        extra=("shortcut",) if settings["shortcut"] else (),
        masks=masks,
        settings={"count": count, **settings},
        total=count,
    )
