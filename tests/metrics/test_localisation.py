"""Pointing game and box hits against loops over pixels, written from their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igcl_lightning.errors import IgclError
from igcl_lightning.metrics.localisation import (
    PixelBox,
    box_hits,
    chance,
    overlap,
    part_boxes,
    pixel_box,
    pointing,
    to_pixels,
)

OVERLAPS = [0.1, 0.3, 0.5]


def flood(mask):
    """The parts of a mask as sets of pixels, that touch at edges or corners, by search from each pixel."""
    left, parts = {(int(r), int(c)) for r, c in np.argwhere(mask)}, []
    while left:
        part, edge = set(), [min(left)]
        while edge:
            r, c = edge.pop()
            if (r, c) in left:
                left.remove((r, c))
                part.add((r, c))
                edge += [(r + dr, c + dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1)]
        parts.append(part)
    return parts


def filled(part):
    """All pixels of the box around a part."""
    rows, columns = zip(*part, strict=True)
    return {(r, c) for r in range(min(rows), max(rows) + 1) for c in range(min(columns), max(columns) + 1)}


def looped(values, mask):
    """Pointing, chance and hits by definition: what each of the highest pixels gives, on average."""
    top, low = values.max(), values.min()
    truth = [filled(part) for part in flood(mask)]
    highest = [(int(r), int(c)) for r, c in np.argwhere(values == top)]
    inside = np.mean([mask[at] for at in highest])
    marked = [] if top == low else flood(values >= (top + low) / 2)
    hits = []
    for at in highest:
        boxes = [filled(part) for part in marked if at in part]
        best = max((len(box & each) / len(box | each) for box in boxes for each in truth), default=0)
        hits.append([best >= required for required in OVERLAPS])
    return inside, mask.sum() / mask.size, np.mean(hits, axis=0)


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.floats(0.05, 0.6))
def test_all_equal_loops(seed, rows, columns, levels, share):
    """Few levels make ties, small shares several parts or none."""
    rng = np.random.default_rng(seed)
    values, mask = rng.integers(-2, levels, (rows, columns)).astype(float), rng.random((rows, columns)) < share
    expected = looped(values, mask)
    found = pointing(values, mask), chance(mask), box_hits(values, part_boxes(mask), OVERLAPS)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other)


@given(st.integers(0, 10**6))
def test_overlap_equals_sets_of_pixels(seed):
    low = np.random.default_rng(seed).integers(0, 6, (2, 2))
    size = np.random.default_rng(seed + 1).integers(1, 6, (2, 2))
    boxes = [PixelBox(*a.tolist(), *(a + b).tolist()) for a, b in zip(low, size, strict=True)]
    one, other = ({(r, c) for r in range(b.top, b.bottom) for c in range(b.left, b.right)} for b in boxes)
    assert overlap(*boxes) == pytest.approx(len(one & other) / len(one | other))


def test_a_map_that_is_the_same_everywhere_wins_nothing():
    mask = np.zeros((8, 8), bool)
    mask[:, :6] = True
    for value in (0.0, -3.0, 1e6):
        noise = np.random.default_rng(0).uniform(-1, 1, (8, 8)) * 1e-8
        same = value * (1 + noise)
        assert pointing(same, mask) == chance(mask) == 0.75
        assert box_hits(same, part_boxes(mask), OVERLAPS).tolist() == [0, 0, 0]


@pytest.mark.parametrize("grid", [(2, 2), (3, 5), (4, 4), (8, 8)])
def test_nearest_gives_a_pixel_the_value_of_its_cell_so_that_any_grid_has_the_same_chance(grid):
    values = np.random.default_rng(0).normal(size=grid)
    for size in ((11, 19), (120, 240)):
        found = to_pixels(values, size)
        for r, c in np.random.default_rng(1).integers(0, size, (50, 2)):
            assert found[r, c] == values[int((r + 0.5) * grid[0] / size[0]), int((c + 0.5) * grid[1] / size[1])]
    mask = np.zeros(size, bool)
    mask[13:50, 7:77] = True
    by_cell = [pointing(to_pixels(one.reshape(grid), size), mask) for one in np.eye(values.size)]
    assert np.mean(by_cell) == pytest.approx(chance(mask))


def test_bilinear_interpolates_between_the_centres_of_cells():
    values = np.random.default_rng(0).normal(size=(3, 2))
    found = to_pixels(values, (9, 8), "bilinear")
    for r in range(9):
        for c in range(8):
            y, x = np.clip((r + 0.5) * 3 / 9 - 0.5, 0, 2), np.clip((c + 0.5) * 2 / 8 - 0.5, 0, 1)
            y0, x0 = min(int(y), 1), min(int(x), 0)
            corner = values[y0 : y0 + 2, x0 : x0 + 2]
            assert found[r, c] == pytest.approx([1 - (y - y0), y - y0] @ corner @ [1 - (x - x0), x - x0])
    with pytest.raises(IgclError, match="interpolation 'cubic' is not one of nearest, bilinear"):
        to_pixels(values, (9, 8), "cubic")


def test_a_map_exactly_over_the_region_scores_1_and_its_inverse_0():
    mask = np.zeros((64, 64), bool)
    mask[16:32, 48:64] = True
    planted = np.zeros((4, 4))
    planted[1, 3] = 1.0
    for values, expected in ((planted, 1), (-planted, 0)):
        pixels = to_pixels(values, mask.shape)
        assert pointing(pixels, mask) == expected
        assert box_hits(pixels, part_boxes(mask), [0.3, 1.0]).tolist() == [expected] * 2


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((1.0, 2.0, 3.0, 5.0), (2, 1, 5, 3)),
        ((0.6, 1.4, 3.2, 4.6), (1, 1, 5, 3)),
        ((2.1, 2.1, 2.2, 2.2), (2, 2, 3, 3)),
        ((-4.0, 5.9, 50.0, 6.0), (5, 0, 6, 8)),
        ((8.0, 6.0, 9.0, 7.0), (5, 7, 6, 8)),
    ],
)
def test_pixels_of_a_box(edges, expected):
    assert pixel_box(edges, (6, 8)) == expected
