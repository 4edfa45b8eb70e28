"""How studies become rows of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from igcl_lightning.data.images import JPEG_QUALITY
from igcl_lightning.data.pictures.fit import WAYS
from igcl_lightning.data.study import VIEWS
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.sections import SECTION_CHOICES

MAX_SIZE = 8192
MISSING_REPORT = ("keep-image", "drop", "error")


@dataclass(frozen=True)
class Options:
    """How studies become rows.

    Attributes:
        size: side of the stored square images, in pixels.
        fit: how an image becomes square, one of `fit.WAYS`.
        quality: of the stored JPEGs, 1 to 100.
        lossless: store PNG instead of JPEG.
        full_decode: decode JPEGs at their full size, instead of at the half, quarter or eighth that still has twice the
            pixels that are stored.
        views: projections (`VIEWS`) of the images to keep; all by default.
        sections: what of a report is parsed, one of `SECTION_CHOICES`; a report without findings and impression is
            parsed whole. A text whose sections the source does not tell apart is split at its headers.
        reparse: parse the report even where the source ships its graph.
        on_missing_report: what becomes of a study with neither a text that is parsed nor a graph, one of
            `MISSING_REPORT`.
        rename_labels: names in the store by names in the source.
        seed: of the split of patients whose source names none.
        node_text: folder or hub name of a language model whose frozen features of the graphs' nodes are stored too.
        node_text_word: what a word is of its wordpieces, "mean" or "sum" (see `NodeText`).

    Raises:
        IgclError: one of them is out of its range.
    """

    size: int = 256
    fit: str = "letterbox"
    quality: int = JPEG_QUALITY
    lossless: bool = False
    full_decode: bool = False
    views: tuple[str, ...] = ()
    sections: str = "both"
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
        words = {"--fit": ((self.fit,), WAYS), "--views": (self.views, VIEWS)}
        words["--sections"] = ((self.sections,), tuple(SECTION_CHOICES))
        words["--on-missing-report"] = ((self.on_missing_report,), MISSING_REPORT)
        for option, (chosen, known) in words.items():
            for word in chosen:
                if word not in known:
                    raise IgclError(f"{option}: {word!r} is not one of {', '.join(known)}")


@dataclass(frozen=True)
class Columns:
    """What the rows of a store hold besides the fixed columns.

    Attributes:
        labels: names in the source by names in the store.
        extra: names of the further columns.
        arrays: names of the columns of numbers.
        boxes: whether there are boxes.
        masks: whether there are masks.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    boxes: bool = False
    masks: bool = False
