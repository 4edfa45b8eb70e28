"""Regions of an image as data sets mark them: boxes, and masks as runs of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """A marked rectangle, in pixels of the image it belongs to; the maximum is outside.

    Attributes:
        label: what was marked.
        x_min: left edge.
        y_min: upper edge.
        x_max: right edge.
        y_max: lower edge.
    """

    label: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float

    @classmethod
    def of_size(cls, label: str, x: float, y: float, width: float, height: float) -> Box:
        """Return the box of an upper left corner and a size."""
        return cls(label, x, y, x + width, y + height)


class RunLengths(NamedTuple):
    """A mask as run lengths.

    Attributes:
        runs: pairs of numbers, a start and a length. Starts count from the first pixel, which is 0; where `relative`,
            from the end of the run before (SIIM-ACR).
        height: of the image in pixels.
        width: of the image in pixels.
        relative: whether starts are gaps.
        by_columns: whether pixels are counted down the columns, or along the rows.
    """

    runs: tuple[tuple[int, int], ...]
    height: int
    width: int
    relative: bool = True
    by_columns: bool = True

    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the first pixel of each run and the pixel after its last, int64 [R] each, counted from pixel 0.

        Raises:
            ValueError: a run has a negative number, or ends outside the image.
        """
        pixels = self.height * self.width
        if any(number < 0 for run in self.runs for number in run):
            raise ValueError("a run length is negative")
        # Before the sums: a number too large for them would come out negative, and pass.
        outside = any(number > pixels for run in self.runs for number in run)
        runs = np.array(() if outside else self.runs, dtype=np.int64).reshape(-1, 2)
        starts, lengths = runs[:, 0], runs[:, 1]
        if self.relative:
            starts = starts.cumsum() + lengths.cumsum() - lengths
        ends = starts + lengths
        if outside or (ends > pixels).any():
            raise ValueError(f"a run ends after pixel {pixels}, the last of {self.height}x{self.width}")
        return starts, ends

    def mask(self) -> np.ndarray:
        """Return the mask, bool [height, width]; runs may touch or overlap.

        Raises:
            ValueError: a run has a negative number, or ends outside the image.
        """
        starts, ends = self.spans()
        # The sum of +1 at each start and -1 after each end is positive inside.
        edges = np.zeros(self.height * self.width + 1, dtype=np.int64)
        np.add.at(edges, starts, 1)
        np.add.at(edges, ends, -1)
        inside = edges[:-1].cumsum() > 0
        return inside.reshape(self.width, self.height).T if self.by_columns else inside.reshape(self.height, self.width)

    @classmethod
    def parse(cls, text: str, height: int, width: int, *, relative: bool = True, by_columns: bool = True) -> RunLengths:
        """Read numbers parted by white space.

        Raises:
            ValueError: a word is no whole number, or there is an odd number of them.
        """
        numbers = [int(word) for word in text.split()]
        if len(numbers) % 2:
            raise ValueError(f"{len(numbers)} run lengths, not pairs")
        runs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        return cls(runs, height, width, relative, by_columns)


def run_lengths(mask: np.ndarray, *, relative: bool = True, by_columns: bool = True) -> RunLengths:
    """Return the runs of a mask bool [H, W]: the inverse of `RunLengths.mask`."""
    flat = (mask.T if by_columns else mask).reshape(-1).astype(np.int8)
    change = np.flatnonzero(np.diff(flat, prepend=0, append=0))
    starts, ends = change[::2], change[1::2]
    firsts = starts - np.concatenate([[0], ends])[: len(starts)] if relative else starts
    runs = tuple(zip(firsts.tolist(), (ends - starts).tolist(), strict=True))
    return RunLengths(runs, mask.shape[0], mask.shape[1], relative, by_columns)


def union(parts: Sequence[RunLengths]) -> RunLengths:
    """Return the pixels that are in any of the masks, as runs with absolute starts.

    Args:
        parts: at least one, all of one image: same height, width and order of pixels.

    Raises:
        ValueError: they are not of one image, or a run is wrong.
    """
    first = parts[0]
    if any(
        (part.height, part.width, part.by_columns) != (first.height, first.width, first.by_columns) for part in parts
    ):
        raise ValueError("the run lengths are of different images")
    spans = [part.spans() for part in parts]
    runs = tuple(
        (int(start), int(end - start)) for starts, ends in spans for start, end in zip(starts, ends, strict=True)
    )
    return RunLengths(runs, first.height, first.width, relative=False, by_columns=first.by_columns)
