import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from igcl_lightning.data.regions import Box, RunLengths, run_lengths, union

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))
ORDERS = [(relative, by_columns) for relative in (True, False) for by_columns in (True, False)]


def slow_mask(runs, height, width, relative, by_columns):
    """Pixel by pixel: the same as `RunLengths.mask`, by another way."""
    mask = np.zeros((height, width), dtype=bool)
    position = 0
    for start, length in runs:
        position = position + start if relative else start
        for pixel in range(position, position + length):
            row, column = (pixel % height, pixel // height) if by_columns else (pixel // width, pixel % width)
            mask[row, column] = True
        position += length
    return mask


@pytest.mark.parametrize(
    ("relative", "by_columns", "inside"),
    [
        (True, True, [(1, 0), (0, 1), (1, 2)]),
        (True, False, [(0, 1), (0, 2), (1, 2)]),
        (False, True, [(1, 0), (0, 1), (1, 1)]),
        (False, False, [(0, 1), (0, 2), (1, 0)]),
    ],
)
def test_starts_are_gaps_or_places_down_the_columns_or_along_the_rows(relative, by_columns, inside):
    mask = RunLengths(((1, 2), (2, 1) if relative else (3, 1)), 2, 3, relative, by_columns).mask()
    assert mask.shape == (2, 3)
    assert mask.dtype == bool
    assert list(zip(*np.nonzero(mask), strict=True)) == sorted(inside)


@pytest.mark.parametrize(("relative", "by_columns"), ORDERS)
@given(mask=MASKS)
def test_a_mask_survives_the_round_trip(mask, relative, by_columns):
    runs = run_lengths(mask, relative=relative, by_columns=by_columns)
    assert np.array_equal(runs.mask(), mask)
    assert np.array_equal(slow_mask(runs.runs, *mask.shape, relative, by_columns), mask)
    assert all(length > 0 for _, length in runs.runs)


@pytest.mark.parametrize(("relative", "by_columns"), ORDERS)
@given(data=st.data())
def test_any_runs_give_what_a_loop_over_pixels_gives(data, relative, by_columns):
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    runs, end = [], 0
    for _ in range(data.draw(st.integers(0, 6))):
        first = data.draw(st.integers(end if relative else 0, height * width))
        length = data.draw(st.integers(0, height * width - first))
        runs.append((first - end if relative else first, length))
        end = first + length
    expected = slow_mask(runs, height, width, relative, by_columns)
    assert np.array_equal(RunLengths(tuple(runs), height, width, relative, by_columns).mask(), expected)


@pytest.mark.parametrize(("relative", "by_columns"), ORDERS)
@pytest.mark.parametrize("pixels", [[], [(0, 0)], [(2, 3)], [(0, 0), (2, 3)]])
def test_an_empty_mask_and_the_first_and_last_pixel(pixels, relative, by_columns):
    mask = np.zeros((3, 4), dtype=bool)
    for pixel in pixels:
        mask[pixel] = True
    runs = run_lengths(mask, relative=relative, by_columns=by_columns)
    assert len(runs.runs) == len(pixels)
    assert np.array_equal(runs.mask(), mask)


def test_a_full_mask_is_one_run():
    assert run_lengths(np.ones((3, 4), dtype=bool)).runs == ((0, 12),)


def test_touching_and_overlapping_runs_are_one_region():
    touching = RunLengths(((1, 2), (0, 3)), 4, 2)
    overlapping = RunLengths(((1, 4), (2, 4)), 4, 2, relative=False)
    assert run_lengths(touching.mask()) == run_lengths(overlapping.mask()) == RunLengths(((1, 5),), 4, 2)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (((0, -1),), "a run length is negative"),
        (((-1, 2),), "a run length is negative"),
        (((4, 3),), "a run ends after pixel 6, the last of 2x3"),
        (((7, 0),), "a run ends after pixel 6, the last of 2x3"),
        (((2**62, 2**62), (2**62, 2**62)), "a run ends after pixel 6, the last of 2x3"),
        (((0, 10**30),), "a run ends after pixel 6, the last of 2x3"),
    ],
)
def test_wrong_runs_are_refused(runs, message, relative):
    with pytest.raises(ValueError, match=message):
        RunLengths(runs, 2, 3, relative).mask()


def test_text_is_read_as_pairs():
    assert RunLengths.parse(" 3 2\t1  4 ", 4, 5, relative=False).runs == ((3, 2), (1, 4))
    assert RunLengths.parse("", 4, 5).runs == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [("3 2 1", "3 run lengths, not pairs"), ("3 2.5", "invalid literal.*'2.5'"), ("a 2", "invalid literal.*'a'")],
)
def test_text_that_is_no_pairs_of_numbers_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        RunLengths.parse(text, 4, 5)


@pytest.mark.parametrize(("relative", "by_columns"), ORDERS)
@given(data=st.data())
def test_a_union_is_inside_where_one_part_is(data, relative, by_columns):
    first = data.draw(MASKS)
    second = data.draw(arrays(bool, first.shape))
    parts = [run_lengths(mask, relative=relative, by_columns=by_columns) for mask in (first, second)]
    assert np.array_equal(union(parts).mask(), first | second)


def test_a_union_is_of_one_image():
    with pytest.raises(ValueError, match="the run lengths are of different images"):
        union([RunLengths((), 2, 3), RunLengths((), 3, 2)])


def test_a_box_may_be_given_by_corner_and_size():
    assert Box.of_size("Mass", 1, 2, 3, 4) == Box("Mass", 1, 2, 4, 6)
