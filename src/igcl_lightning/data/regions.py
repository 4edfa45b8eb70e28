"""Regions of an image: boxes, and masks as runs of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw


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
        scalable: whether they also fit larger and smaller copies of the image, by rescaling.
    """

    runs: tuple[tuple[int, int], ...]
    height: int
    width: int
    scalable: bool = False

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

    @classmethod
    def of_coco(cls, counts: str | Sequence[int], height: int, width: int) -> RunLengths:
        """Read COCO's run lengths: pixels outside and inside by turns, down the columns, as numbers or as their text.

        Raises:
            ValueError: the text is damaged, a number is negative, or their sum is not the size of the image.
        """
        numbers = _coco_numbers(counts) if isinstance(counts, str) else [int(number) for number in counts]
        if min(numbers, default=0) < 0:
            raise ValueError("a run length is negative")
        if sum(numbers) != height * width:
            raise ValueError(f"run lengths of {sum(numbers)} pixels for an image of {height} x {width}")
        starts = list(accumulate(numbers, initial=0))
        inside = [(start, length) for start, length in zip(starts[1::2], numbers[1::2], strict=False) if length]
        return cls(tuple(inside), height, width)

    @classmethod
    def of_mask(cls, mask: np.ndarray) -> RunLengths:
        """Return the runs of a mask, bool [height, width]."""
        changes = np.flatnonzero(np.diff(mask.T.ravel().astype(np.int8), prepend=0, append=0))
        runs = zip(changes[::2].tolist(), (changes[1::2] - changes[::2]).tolist(), strict=True)
        return cls(tuple(runs), *mask.shape)

    @classmethod
    def of_boxes(cls, boxes: Iterable[Box], height: int, width: int) -> RunLengths:
        """Return the pixels of filled boxes, cut at the edge of the image; edges between two pixels are rounded."""
        mask = np.zeros((height, width), bool)
        for box in boxes:
            x_min, y_min, x_max, y_max = (max(round(edge), 0) for edge in box[1:])
            mask[y_min:y_max, x_min:x_max] = True
        return cls.of_mask(mask)

    @classmethod
    def of_polygons(cls, polygons: Iterable[Sequence[tuple[float, float]]], height: int, width: int) -> RunLengths:
        """Return the pixels of filled polygons with their outline, as CheXlocalize fills them; corners are (x, y)."""
        image = Image.new("1", (width, height))
        draw = ImageDraw.Draw(image)
        for corners in polygons:
            draw.polygon([(x, y) for x, y in corners], outline=1, fill=1)
        return cls.of_mask(np.asarray(image))

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


def _coco_numbers(text: str) -> list[int]:
    """Return the numbers of COCO's text: 5 bits a character, low ones first, and from the third number on differences.

    Bit 5 of a character says that its number goes on, bit 4 of the last one that the number is negative.
    """
    numbers: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} is not in COCO's run lengths")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (bits & 16) << (shift - 4)
            numbers.append(number + (numbers[-2] if len(numbers) > 2 else 0))
            number = shift = 0
    if shift:
        raise ValueError("the run lengths are cut off")
    return numbers
