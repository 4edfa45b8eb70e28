"""Small marks at the border, against loops over pixels."""

import numpy as np
import pytest
from PIL import Image

from igcl_lightning.metrics.border import FRAME, HAT, MIRRORED, PATCH, PLACES, SIDE, STRIDE, border_marks, place_name


def extreme(pixels, row, column, size, pick):
    """The highest or lowest value in a square around a pixel; pixels beyond the edge repeat the outermost."""
    reach = range(-(size // 2), size - size // 2)
    last = len(pixels) - 1
    clip = lambda at: min(max(at, 0), last)  # noqa: E731 (one word for a formula)
    return pick(pixels[clip(row + down)][clip(column + along)] for down in reach for along in reach)


def opened(pixels, first, then):
    """What remains of bright things (first min, then max) or of dark ones (first max, then min)."""
    side = range(len(pixels))
    once = [[extreme(pixels, row, column, HAT, first) for column in side] for row in side]
    return [[extreme(once, row, column, HAT, then) for column in side] for row in side]


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    smooth = np.asarray(Image.fromarray(rng.integers(0, 256, (7, 7), dtype=np.uint8)).resize((SIDE, SIDE)))
    return np.clip(smooth + rng.integers(-40, 40, smooth.shape), 0, 255).astype(np.uint8)


def test_marks_are_the_highest_top_hats_of_each_patch(image):
    pixels = image.astype(int).tolist()
    without_bright, without_dark = opened(pixels, min, max), opened(pixels, max, min)
    marks = border_marks(image)
    for number in range(0, len(PLACES), 11):
        top, left = PLACES[number]
        inside = [(row, column) for row in range(top, top + PATCH) for column in range(left, left + PATCH)]
        assert marks[0, number] == max(pixels[row][column] - without_bright[row][column] for row, column in inside)
        assert marks[1, number] == max(without_dark[row][column] - pixels[row][column] for row, column in inside)


def test_patches_are_those_whose_centre_is_near_an_edge():
    wanted = []
    for top in range(0, SIDE - PATCH + 1, STRIDE):
        for left in range(0, SIDE - PATCH + 1, STRIDE):
            centre = top + PATCH / 2, left + PATCH / 2
            if any(min(at, SIDE - at) <= FRAME * SIDE for at in centre):
                wanted.append([top, left])
    assert PLACES.tolist() == wanted
    for number, other in enumerate(MIRRORED):
        assert PLACES[other].tolist() == [PLACES[number][0], SIDE - PATCH - PLACES[number][1]]


@pytest.mark.parametrize("size", [64, 200])
def test_a_small_thing_stands_out_and_a_large_one_does_not(size):
    image = np.full((size, size), 90, np.uint8)
    corner = np.flatnonzero((PLACES == (SIDE - PATCH, 0)).all(axis=1))[0]
    unit = size // SIDE
    image[size - 5 * unit : size - 2 * unit, 2 * unit : 5 * unit] = 250
    marks = border_marks(image)
    assert marks[0, corner] > 100
    assert marks[0, MIRRORED[corner]] == 0
    large = np.full((size, size), 90, np.uint8)
    large[size // 2 :, : size // 2] = 250
    assert border_marks(large).max() == 0


@pytest.mark.parametrize(
    ("top", "left", "alone", "both"),
    [
        (0, 0, "upper left corner", "upper left and right corners"),
        (SIDE - PATCH, SIDE - PATCH, "lower right corner", "lower left and right corners"),
        (28, 0, "left edge", "left and right edges"),
        (0, 28, "upper edge", "upper edge"),
        (SIDE - PATCH, 28, "lower edge", "lower edge"),
    ],
)
def test_names_of_places(top, left, alone, both):
    patch = int(np.flatnonzero(((top, left) == PLACES).all(axis=1))[0])
    assert (place_name(patch, both=False), place_name(patch, both=True)) == (alone, both)
