"""The record every source yields: one study, its images, its report and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from igcl_lightning.graphs.schema import ReportGraph

REPORT_SECTIONS: tuple[str, ...] = ("indication", "comparison", "technique", "findings", "impression", "report")
"""Section names of a report; `report` holds a text whose sections are not known."""

SPLITS: tuple[str, ...] = ("train", "valid", "test")
"""Split names of a store; "validate", "validation" and "val" are read as "valid"."""

VIEWS: tuple[str, ...] = ("PA", "AP", "lateral", "unknown")

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True, eq=False)
class StudyImage:
    """One image of a study.

    Attributes:
        image_id: unique in the source; becomes the store's `row`.
        source: a file to decode, or grey pixels uint8 [H, W].
        view: one of `VIEWS`.
        masks: named boolean masks [H, W] of the pixels, such as "left_lung" or "Pleural Effusion".
    """

    image_id: str
    source: Path | np.ndarray
    view: str = "unknown"
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One imaging study as a source describes it, before checks.

    Attributes:
        study_id: unique in the source.
        patient_id: the person; splits never cut through a patient.
        images: at least one, or the study is counted as dropped.
        report: text by section name (`REPORT_SECTIONS`); empty when there is none.
        graph: the report's graph where the source ships one; parsed from the report otherwise.
        labels: 1.0 present, 0.0 absent, None not known; the names are the source's own.
        split: one of `SPLITS`, or None to let `prepare` draw it by patient.
        age: in years, or None.
        sex: "F", "M" or None.
        extra: further columns, kept in the store under their name.
        arrays: further columns of numbers, such as a signal: arrays, or `.npy` files to read.
    """

    study_id: str
    patient_id: str
    images: tuple[StudyImage, ...]
    report: Mapping[str, str] = field(default_factory=dict)
    graph: ReportGraph | None = None
    labels: Mapping[str, float | None] = field(default_factory=dict)
    split: str | None = None
    age: float | None = None
    sex: str | None = None
    extra: Mapping[str, Scalar] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray | Path | None] = field(default_factory=dict)
