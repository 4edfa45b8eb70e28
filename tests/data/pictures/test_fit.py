import numpy as np
import pytest
from PIL import Image

from igcl_lightning.data.pictures.fit import Fit, decode_size
from igcl_lightning.errors import IgclError

SHAPES = [(40, 20), (20, 40), (7, 100), (16, 16), (32, 32), (61, 50), (1, 300), (12, 10)]
WAYS = ["letterbox", "crop", "authors"]


def random_pixels(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_stored_image_is_square(shape, how):
    assert Fit.of(shape, 32, how).image(random_pixels(shape)).shape == (32, 32)


@pytest.mark.parametrize("shape", SHAPES)
def test_letterbox_keeps_the_aspect_and_centres(shape):
    inside = Fit.of(shape, 32).image(np.full(shape, 255, np.uint8)) > 128
    height, width = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert max(height, width) == 32
    assert min(height, width) == max(1, round(32 * min(shape) / max(shape)))
    assert abs(inside[:16].sum() - inside[16:].sum()) <= 32


@pytest.mark.parametrize(("shape", "size"), [((61, 50), 32), ((50, 61), 32), ((3056, 2544), 320), ((2021, 2500), 320)])
def test_authors_is_what_plain_pillow_calls_give(shape, size):
    pixels = random_pixels(shape)
    image = Image.fromarray(pixels)
    ratio = float(size) / max(image.size)
    inner = (int(image.size[0] * ratio), int(image.size[1] * ratio))
    canvas = Image.new("L", (size, size))
    canvas.paste(image.resize(inner, Image.Resampling.LANCZOS), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    np.testing.assert_array_equal(Fit.of(shape, size, "authors").image(pixels), np.asarray(canvas))


def test_authors_truncates_where_letterbox_rounds():
    assert Fit.of((100, 77), 32, "letterbox").inner == (25, 32)
    assert Fit.of((100, 77), 32, "authors").inner == (24, 32)


@pytest.mark.parametrize("shape", [(90, 60), (60, 90)])
def test_crop_keeps_the_middle(shape):
    pixels = random_pixels(shape)
    middle = pixels[15:75] if shape[0] > shape[1] else pixels[:, 15:75]
    expected = Image.fromarray(np.ascontiguousarray(middle)).resize((30, 30), Image.Resampling.LANCZOS, None, 3.0)
    got = Fit.of(shape, 30, "crop").image(pixels)
    inner = (slice(2, -2), slice(2, -2))  # at the cut, the filter sees what lies beyond it
    np.testing.assert_allclose(got[inner].astype(int), np.asarray(expected)[inner].astype(int), atol=1)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_decode_lands_on_the_same_place(how, factor):
    shape = (8 * 61 + 3, 8 * 50 + 1)
    rows, columns = np.indices(shape)
    scene = (128 + 60 * np.sin(rows / 40) + 60 * np.cos(columns / 33)).astype(np.uint8)
    padded = np.pad(scene, [(0, -side % factor) for side in shape], mode="edge")
    reduced = padded.reshape(padded.shape[0] // factor, factor, -1, factor).mean(axis=(1, 3)).astype(np.uint8)
    fit = Fit.of(shape, 48, how)
    difference = np.abs(fit.image(reduced).astype(int) - fit.image(scene))
    assert difference[1:-1, 1:-1].mean() < 1.5


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != (1, 300)])
def test_a_mask_pixel_is_set_where_half_its_area_is_covered(shape, how):
    fit = Fit.of(shape, 12, how)
    mask = random_pixels(shape, 1) > 120
    left, top, right, bottom = (round(2 * edge) for edge in fit.region)
    doubled = np.kron(mask, np.ones((2, 2), int))[top:bottom, left:right]  # a crop may begin at half a pixel
    width, height = fit.inner
    fine = np.kron(doubled, np.ones((height, width), int))
    counted = fine.reshape(height, doubled.shape[0], width, doubled.shape[1]).sum(axis=(1, 3))
    expected = np.zeros((12, 12), bool)
    y, x = (12 - height) // 2, (12 - width) // 2
    expected[y : y + height, x : x + width] = 2 * counted >= doubled.size
    np.testing.assert_array_equal(fit.mask(mask), expected)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("shape", [(61, 50), (50, 61), (12, 10), (200, 90)])
def test_boxes_go_where_their_masks_go(shape, how):
    fit = Fit.of(shape, 32, how)
    generator = np.random.default_rng(2)
    for _ in range(100):
        x_min, x_max = np.sort(generator.choice(shape[1] + 1, 2, replace=False))
        y_min, y_max = np.sort(generator.choice(shape[0] + 1, 2, replace=False))
        mask = np.zeros(shape, bool)
        mask[y_min:y_max, x_min:x_max] = True
        rows, columns = np.nonzero(fit.mask(mask))
        if rows.size == 0:
            continue
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(fit.box((x_min, y_min, x_max, y_max)), seen, atol=1.0)


def test_a_box_in_numbers():
    assert Fit.of((100, 200), 50).box((20, 10, 60, 30)) == (5, 14.5, 15, 19.5)
    assert Fit.of((100, 200), 50, "crop").box((60, 10, 100, 30)) == (5, 5, 25, 15)


def test_a_box_is_clipped_to_the_picture_and_not_to_the_square():
    assert Fit.of((100, 200), 50).box((-10, -10, 500, 500)) == (0, 12, 50, 37)
    assert Fit.of((100, 200), 50, "crop").box((0, 0, 200, 100)) == (0, 0, 50, 50)


@pytest.mark.parametrize(
    "box", [(0, 0, 49, 100), (10, 10, 10, 20), (300, 0, 400, 50), (60, 30, 70, 20), (float("nan"), 0, 90, 50)]
)
def test_of_a_box_that_is_cut_off_nothing_is_left(box):
    assert Fit.of((100, 200), 50, "crop").box(box) is None


def test_the_arrays_of_another_image_are_refused():
    fit = Fit.of((100, 80), 32)
    with pytest.raises(IgclError, match="mask array of shape .50, 40. does not belong to an image of 100 x 80"):
        fit.mask(np.zeros((50, 40), bool))
    with pytest.raises(IgclError, match="pixels array of shape .80, 100. does not belong to an image of 100 x 80"):
        fit.image(np.zeros((80, 100), np.uint8))


def test_an_unknown_way_is_named():
    with pytest.raises(IgclError, match="fit 'squash' is not one of letterbox, crop, authors"):
        Fit.of((4, 4), 2, "squash")


def test_only_the_authors_way_needs_a_full_decode():
    assert [decode_size(256, how) for how in WAYS] == [512, 768, None]


@pytest.mark.parametrize("how", WAYS)
def test_an_image_of_the_stored_size_stays_as_it_is(how):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(Fit.of((32, 32), 32, how).image(pixels), pixels)
    # of that size only because the decoder reduced it: its pixels are resized as those of any other
    np.testing.assert_array_equal(Fit.of((64, 64), 32, how).image(pixels), pixels)
    wide = Fit.of((32, 40), 32, how).image(np.pad(pixels, ((0, 0), (4, 4))))
    assert wide.shape == (32, 32)
