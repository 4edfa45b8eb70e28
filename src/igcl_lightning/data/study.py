"""Studies as sources yield them: images, report, labels and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from igcl_lightning.data.regions import Box, RunLengths
from igcl_lightning.graphs.schema import ReportGraph

REPORT_SECTIONS: tuple[str, ...] = ("indication", "comparison", "technique", "findings", "impression", "report")
"""Section names of a report; `report` is a text without known sections."""

SPLITS: tuple[str, ...] = ("train", "valid", "test")
"""Split names of a store; "validate", "validation" and "val" are read as "valid"."""

VIEWS: tuple[str, ...] = ("PA", "AP", "frontal", "lateral", "unknown")
"""Projections; "frontal" is PA or AP, not known which."""


FRONTAL: tuple[str, ...] = ("PA", "AP", "frontal")
"""Those of `VIEWS` that are frontal."""

CLASS = "class"
"""Column of the store with the one label that a row is of, as in a 5x200 set; blank for a row that is of none."""


def wanted_views(views: Sequence[str]) -> tuple[str, ...]:
    """Return the views to keep for a list of views.

    PA and AP together include "frontal", and "frontal" without them includes both.
    """
    chosen = {"PA", "AP", "frontal"} & set(views)
    return tuple(dict.fromkeys((*views, *FRONTAL))) if chosen in ({"frontal"}, {"PA", "AP"}) else tuple(views)


Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True, eq=False)
class StudyImage:
    """One image of a study.

    Attributes:
        image_id: unique in the source; becomes the store's `row`.
        source: a file to decode, or grey pixels uint8 [H, W].
        view: one of `VIEWS`.
        source_view: the projection in the source's own words.
        boxes: marked regions, in pixels of the source.
        masks: regions by name, such as "left_lung": bool [H, W] of the source's pixels, a file with non-zero pixels
            inside the region, or run lengths.
        flags: known anomalies of the image, such as "upside down"; counted, and stored with the image.
    """

    image_id: str
    source: Path | np.ndarray
    view: str = "unknown"
    source_view: str | None = None
    boxes: tuple[Box, ...] = ()
    masks: Mapping[str, np.ndarray | Path | RunLengths] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One imaging study, or one image of it, as described by a source, before checks.

    Attributes:
        study_id: id of the study; several records may share it, such as one per image, if they share the patient.
        patient_id: id of the patient, who is in one split only. None if it is only in the DICOM header; if it is
            missing there too, the study counts as a patient.
        images: images; a study without images is dropped and counted.
        report: text by section name (`REPORT_SECTIONS`), or a text file; empty without a report.
        graph: graph of the report, None to parse the report.
        labels: 1.0 present, 0.0 absent, None unknown, under the source's names.
        split: one of `SPLITS`, or None to let `prepare` draw it by patient.
        age: age in years.
        sex: "F" or "M".
        extra: further columns of the store, by name.
        arrays: further columns of numbers, such as a signal: arrays, or `.npy` files to read.
    """

    study_id: str
    patient_id: str | None
    images: tuple[StudyImage, ...]
    report: Mapping[str, str] | Path = field(default_factory=dict)
    graph: ReportGraph | None = None
    labels: Mapping[str, float | None] = field(default_factory=dict)
    split: str | None = None
    age: float | None = None
    sex: str | None = None
    extra: Mapping[str, Scalar] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray | Path | None] = field(default_factory=dict)
