import numpy as np
import pytest
from PIL import Image

from igcl_lightning.data.images import decode_grey, encode_grey, letterbox, read_grey
from igcl_lightning.errors import IgclError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 16), dtype=np.uint8)


def test_grey_survives_png_exactly_and_jpeg_nearly(pixels):
    smooth = np.kron(pixels, np.ones((4, 4), np.uint8))
    np.testing.assert_array_equal(decode_grey(encode_grey(smooth, lossless=True)), smooth)
    assert np.abs(decode_grey(encode_grey(smooth, lossless=False)).astype(int) - smooth).mean() < 4


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "LA"])
def test_every_mode_becomes_one_grey_channel(tmp_path, pixels, mode):
    Image.fromarray(pixels).convert("RGB").convert(mode).save(tmp_path / "image.png")
    got = read_grey(tmp_path / "image.png")
    assert got.dtype == np.uint8
    assert got.shape == pixels.shape
    assert np.abs(got.astype(int) - pixels).mean() < (20 if mode == "P" else 1)


def test_transparent_pixels_become_black(tmp_path):
    Image.fromarray(np.full((4, 4, 4), (255, 255, 255, 0), np.uint8)).save(tmp_path / "image.png")
    assert (read_grey(tmp_path / "image.png") == 0).all()


def test_sixteen_bits_keep_their_range_until_windowed(tmp_path):
    deep = np.linspace(1000, 4000, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    got = read_grey(tmp_path / "deep.png").ravel()
    assert (np.diff(got.astype(int)) >= 0).all()
    assert (got[0], got[-1]) == (0, 255)


def test_the_format_is_judged_by_the_bytes(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "image.png")
    (tmp_path / "image.png").rename(tmp_path / "image.jpg")
    np.testing.assert_array_equal(read_grey(tmp_path / "image.jpg"), pixels)


def test_orientation_tags_are_applied(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "image.png", exif=exif)
    np.testing.assert_array_equal(read_grey(tmp_path / "image.png"), pixels[::-1, ::-1])


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0broken"])
def test_a_broken_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(IgclError, match="broken.png: cannot be decoded") as error:
        read_grey(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(IgclError, match="gone.png: no such image file"):
        read_grey(tmp_path / "gone.png")


@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (7, 100), (16, 16)])
def test_letterbox_keeps_the_aspect_and_centres(shape):
    boxed = letterbox(np.full(shape, 255, np.uint8), 32)
    assert boxed.shape == (32, 32)
    inside = boxed > 128
    height, width = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert max(height, width) == 32
    assert abs(height / width - shape[0] / shape[1]) < 0.1
    assert abs(inside[:16].sum() - inside[16:].sum()) <= 32


@pytest.mark.data
def test_edge_cases(data_folder):
    folder = data_folder / "edge_cases"
    assert read_grey(folder / "covid_rgba.png").ndim == 2
    assert (letterbox(read_grey(folder / "all_black.png"), 64) == 0).all()
    with pytest.raises(IgclError, match="truncated.jpg"):
        read_grey(folder / "truncated.jpg")
