"""Options of preparation: how studies become rows of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from igcl_lightning.data.images import JPEG_QUALITY
from igcl_lightning.data.pictures.fit import WAYS
from igcl_lightning.data.study import VIEWS
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.reports.sections import SECTION_CHOICES

MAX_SIZE = 8192
MISSING_REPORT = ("keep-image", "drop", "error")


@dataclass(frozen=True)
class Options:
    """How studies become rows.

    Attributes:
        size: side of the stored square images, in pixels.
        fit: how an image becomes square, one of `fit.WAYS`.
        quality: quality of the stored JPEGs, 1 to 100.
        lossless: store PNG instead of JPEG.
        full_decode: decode JPEGs at full size, instead of at 1/2, 1/4 or 1/8 with at least twice the stored size.
        views: projections (`VIEWS`) of the images to keep; default: all.
        sections: parsed part of a report, one of `SECTION_CHOICES`; a report without findings and impression is
            parsed whole. A text without known sections is split at its headers.
        headers: section of each header of the hospital's own (see `read_headers`).
        any_language: parse reports that are not English too; they have no graph otherwise.
        reparse: parse the report even if the source has its graph.
        on_missing_report: handling of studies with neither a text to parse nor a graph, one of `MISSING_REPORT`.
        rename_labels: mapping from names in the source to names in the store.
        seed: seed of the split by patient, for sources without one.
        node_text: folder or hub name of a language model whose frozen features of graph nodes are stored too.
        node_text_word: how wordpieces become a word, "mean" or "sum" (see `NodeText`).

    Raises:
        IgclError: an option is out of range.
    """

    size: int = 256
    fit: str = "letterbox"
    quality: int = JPEG_QUALITY
    lossless: bool = False
    full_decode: bool = False
    views: tuple[str, ...] = ()
    sections: str = "both"
    headers: Mapping[str, str] = field(default_factory=dict)
    any_language: bool = False
    reparse: bool = False
    on_missing_report: str = "keep-image"
    rename_labels: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    node_text: str | None = None
    node_text_word: str = "mean"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE:
            raise IgclError(f"--size is {self.size}, not 1 to {MAX_SIZE}")
        if not 1 <= self.quality <= 100:
            raise IgclError(f"--quality is {self.quality}, not 1 to 100")
        for option, chosen, known in (
            ("--fit", (self.fit,), WAYS),
            ("--views", self.views, VIEWS),
            ("--sections", (self.sections,), SECTION_CHOICES),
            ("--on-missing-report", (self.on_missing_report,), MISSING_REPORT),
        ):
            if unknown := [word for word in chosen if word not in known]:
                near = suggestion(unknown[0], known)
                raise IgclError(f"{option}: {unknown[0]!r} is not one of {', '.join(known)}{near}")


@dataclass(frozen=True)
class Columns:
    """Columns of a store in addition to the fixed ones.

    Attributes:
        labels: mapping from names in the store to names in the source.
        extra: names of further columns.
        arrays: names of columns of numbers.
        boxes: whether there are boxes.
        masks: whether there are masks.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    boxes: bool = False
    masks: bool = False
