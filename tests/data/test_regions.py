import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igcl_lightning.data.regions import Box, RunLengths


def slow_mask(text, height, width):
    """The mask of SIIM-ACR's run lengths, pixel by pixel."""
    mask = np.zeros((height, width), dtype=bool)
    numbers = [int(word) for word in text.split()]
    position = 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        position += gap
        for pixel in range(position, position + length):
            mask[pixel % height, pixel // height] = True
        position += length
    return mask


def test_runs_go_down_the_columns():
    mask = RunLengths(((1, 2), (3, 1)), 2, 3).mask()
    assert mask.shape == (2, 3)
    assert mask.dtype == bool
    assert list(zip(*np.nonzero(mask), strict=True)) == [(0, 1), (1, 0), (1, 1)]


@given(data=st.data())
def test_text_gives_the_mask_of_a_loop_over_pixels(data):
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    words, left = [], height * width
    for _ in range(2 * data.draw(st.integers(0, 6))):
        words.append(data.draw(st.integers(0, left)))
        left -= words[-1]
    text = " ".join(map(str, words))
    assert np.array_equal(RunLengths.parse(text, height, width).mask(), slow_mask(text, height, width))


def test_the_first_pixel_the_last_and_all():
    assert not RunLengths((), 3, 4).mask().any()
    assert list(zip(*np.nonzero(RunLengths(((0, 1), (11, 1)), 3, 4).mask()), strict=True)) == [(0, 0), (2, 3)]
    assert RunLengths(((0, 12),), 3, 4).mask().all()


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (((0, -1),), "a run length is negative"),
        (((-1, 2),), "a run length is negative"),
        (((4, 3),), "a run ends after pixel 6, the last of 2x3"),
        (((7, 0),), "a run ends after pixel 6, the last of 2x3"),
        (((2**62, 2**62), (2**62, 2**62)), "a run ends after pixel 6, the last of 2x3"),
    ],
)
def test_wrong_runs_are_refused(runs, message):
    with pytest.raises(ValueError, match=message):
        RunLengths(runs, 2, 3).mask()


def test_text_is_read_as_gaps_and_lengths():
    assert RunLengths.parse(" 3 2\t1  4 ", 4, 5).runs == ((3, 2), (6, 4))
    assert RunLengths.parse("", 4, 5).runs == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3 2 1", "3 run lengths, not pairs"),
        ("3 2.5", "invalid literal.*'2.5'"),
        ("a 2", "invalid literal.*'a'"),
        ("5 2 -3 2", "a run length is negative"),
    ],
)
def test_text_that_is_no_pairs_of_numbers_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        RunLengths.parse(text, 4, 5)


def test_a_box_may_be_given_by_corner_and_size():
    assert Box.of_size("Mass", 1, 2, 3, 4) == Box("Mass", 1, 2, 4, 6)
