"""The record every source yields: one study, its images, its report and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from igcl_lightning.data.regions import Box, RunLengths
from igcl_lightning.graphs.schema import ReportGraph

REPORT_SECTIONS: tuple[str, ...] = ("indication", "comparison", "technique", "findings", "impression", "report")
"""Section names of a report; `report` holds a text whose sections are not known."""

SPLITS: tuple[str, ...] = ("train", "valid", "test")
"""Split names of a store; "validate", "validation" and "val" are read as "valid"."""

VIEWS: tuple[str, ...] = ("PA", "AP", "frontal", "lateral", "unknown")
"""Projections; "frontal" is PA or AP, and it is not known which."""


def wanted_views(views: Sequence[str]) -> tuple[str, ...]:
    """Return the views to keep where these are asked for; PA and AP together include what is one of the two."""
    return (*views, "frontal") if {"PA", "AP"} <= set(views) and "frontal" not in views else tuple(views)


Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True, eq=False)
class StudyImage:
    """One image of a study.

    Attributes:
        image_id: unique in the source; becomes the store's `row`.
        source: a file to decode, or grey pixels uint8 [H, W].
        view: one of `VIEWS`.
        source_view: the projection in the source's own words, where it has any.
        boxes: marked regions, in pixels of the source.
        masks: named regions such as "left_lung" or "Pleural Effusion": boolean [H, W] of the source's pixels, a file
            whose non-zero pixels are inside, or run lengths.
        flags: what the source knows to be odd about the image, such as "upside down"; counted and kept.
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
    """One imaging study, or one image of it, as a source describes it, before checks.

    Attributes:
        study_id: of the study; records of one study, such as one for each of its images, are of one patient.
        patient_id: the person; splits never cut through a patient. None where only the header of the DICOM file knows;
            without one the study stands for the person.
        images: at least one, or the study is counted as dropped.
        report: text by section name (`REPORT_SECTIONS`), or a text file of the whole; empty when there is none.
        graph: the report's graph where the source ships one; parsed from the report otherwise.
        labels: 1.0 present, 0.0 absent, None not known; the names are the source's own.
        split: one of `SPLITS`, or None to let `prepare` draw it by patient.
        age: in years, or None.
        sex: "F", "M" or None.
        extra: further columns, kept in the store under their name.
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
