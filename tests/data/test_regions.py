import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw

from igcl_lightning.data.regions import Box, RunLengths, coco_run_lengths, run_lengths, union

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


def packed(numbers):
    """COCO's text of some counts, written here independently of the reader."""
    text = ""
    for index, number in enumerate(numbers):
        rest = number - numbers[index - 2] if index > 2 else number
        while True:
            bits, rest = rest % 32, rest // 32
            done = rest == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


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


@given(mask=MASKS)
def test_coco_counts_and_their_packed_text_are_read(mask):
    flat = mask.T.reshape(-1)
    numbers, inside = [0], False
    for pixel in flat:
        if pixel != inside:
            numbers.append(0)
            inside = not inside
        numbers[-1] += 1
    assert np.array_equal(coco_run_lengths(numbers, *mask.shape).mask(), mask)
    assert np.array_equal(coco_run_lengths(packed(numbers), *mask.shape).mask(), mask)


@given(numbers=st.lists(st.integers(0, 5_000_000), max_size=9))
def test_packed_counts_of_large_images_are_read(numbers):
    runs = coco_run_lengths(packed(numbers), sum(numbers), 1)
    assert [number for run in runs.runs for number in run] == numbers[: len(numbers) // 2 * 2]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([2, 3], "do not add up to the 6 pixels of 2x3"),
        ([2, -1, 5], "do not add up to the 6 pixels of 2x3"),
        (packed([2, 3]), "do not add up to the 6 pixels of 2x3"),
        ("2 4", "' ' is no letter of packed counts"),
        ("2q", "'q' is no letter of packed counts"),
        (packed([2, 400])[:-1], "the packed counts end within a number"),
    ],
)
def test_wrong_coco_counts_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        coco_run_lengths(counts, 2, 3)


def test_a_box_has_a_name_and_four_edges():
    assert Box("Mass", 1, 2, 3, 4)._asdict() == {"label": "Mass", "x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}


@pytest.mark.data
def test_masks_of_chexlocalize_are_the_polygons_they_were_made_of(data_folder):
    folder = data_folder / "format_fixtures" / "chexlocalize_sample"
    polygons = json.loads((folder / "gt_annotations_val.json").read_text())
    masks = json.loads((folder / "gt_segmentations_val.json").read_text())
    compared = 0
    for image, tasks in masks.items():
        for task, coco in tasks.items():
            height, width = coco["size"]
            mask = coco_run_lengths(coco["counts"], height, width).mask()
            drawn = Image.new("1", (width, height))
            for polygon in polygons[image].get(task, ()):
                ImageDraw.Draw(drawn).polygon([tuple(point) for point in polygon], fill=1, outline=1)
            expected = np.asarray(drawn)
            assert [height, width] == polygons[image]["img_size"]
            if task not in polygons[image]:
                assert not mask.any()
                continue
            compared += 1
            assert (mask & expected).sum() / (mask | expected).sum() > 0.99
    assert compared == 4
