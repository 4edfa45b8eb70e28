"""Regions of an image in data sets: boxes, and masks as runs of pixels."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """A rectangle labelled with a finding, in pixels of its image; `x_max` and `y_max` are exclusive."""

    label: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float

    @classmethod
    def of_size(cls, label: str, x: float, y: float, width: float, height: float) -> Box:
        """Return the box with an upper left corner and a size."""
        return cls(label, x, y, x + width, y + height)


class RunLengths(NamedTuple):
    """A mask as runs of pixels, counted down the columns from pixel 0.

    Attributes:
        runs: first pixel and length of each run; runs may touch or overlap.
        height: height of the image in pixels.
        width: width of the image in pixels.
    """

    runs: tuple[tuple[int, int], ...]
    height: int
    width: int

    @classmethod
    def parse(cls, text: str, height: int, width: int) -> RunLengths:
        """Read SIIM-ACR's run lengths: a gap and a length per run, separated by white space.

        Raises:
            ValueError: a word is not a whole number, one is negative, or their number is odd.
        """
        numbers = [int(word) for word in text.split()]
        if len(numbers) % 2:
            raise ValueError(f"{len(numbers)} run lengths, not pairs")
        if min(numbers, default=0) < 0:
            raise ValueError("a run length is negative")
        ends = list(accumulate(numbers))
        return cls(tuple(zip(ends[::2], numbers[1::2], strict=True)), height, width)

    def check(self) -> None:
        """Raise a `ValueError` unless all runs are inside the image."""
        pixels = self.height * self.width
        if any(start < 0 or length < 0 for start, length in self.runs):
            raise ValueError("a run length is negative")
        if any(start + length > pixels for start, length in self.runs):
            raise ValueError(f"a run ends after pixel {pixels}, the last of {self.height}x{self.width}")

    def mask(self) -> np.ndarray:
        """Return the mask, bool [height, width], of checked runs."""
        self.check()
        inside = np.zeros(self.height * self.width, bool)
        for start, length in self.runs:
            inside[start : start + length] = True
        return inside.reshape(self.width, self.height).T
