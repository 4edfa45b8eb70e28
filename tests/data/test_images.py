import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from igcl_lightning.data.images import decode_grey, encode_grey, read_grey, read_picture
from igcl_lightning.data.pictures.fit import Fit
from igcl_lightning.data.pictures.picture import count_levels, stretch_range, to_bytes
from igcl_lightning.data.pictures.raster import to_grey
from igcl_lightning.errors import IgclError, one_line
from image_files import assert_refused_or_equal, raster, turned


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
    with pytest.raises(IgclError, match="gone.png: no such file"):
        read_grey(tmp_path / "gone.png")


def png(height, width, depth, colour, rows: bytes) -> bytes:
    """A PNG file that says whatever one likes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def read(tmp_path):
    def of(data: bytes, name="image", at_least=None):
        (tmp_path / name).write_bytes(data)
        return read_picture(tmp_path / name, at_least)

    return of


@pytest.fixture
def smooth():
    """A scene that survives lossy compression, 203 x 155."""
    rows, columns = np.indices((203, 155))
    return (128 + 60 * np.sin(rows / 20) + 60 * np.cos(columns / 17)).astype(np.uint8)


FORMATS = [
    ("JPEG", "L", {}),
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("PNG", "L", {}),
    ("PNG", "RGBA", {}),
    ("TIFF", "L", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
    ("BMP", "L", {}),
    ("BMP", "RGB", {}),
    ("GIF", "L", {}),
    ("WEBP", "RGB", {"quality": 95}),
    ("JPEG2000", "L", {}),
    ("PPM", "L", {}),
]


@pytest.mark.parametrize(("format", "mode", "options"), FORMATS)
def test_every_format_becomes_grey(read, smooth, format, mode, options):
    picture = read(raster(smooth, format, mode, **options))
    assert picture.pixels.dtype == np.uint8
    assert picture.shape == picture.pixels.shape == smooth.shape
    assert np.abs(picture.pixels.astype(int) - smooth).mean() < 2
    assert picture.flags == ()
    assert picture.header == {}


@pytest.mark.parametrize(("format", "mode", "options"), FORMATS)
def test_a_truncated_file_is_refused_or_complete(tmp_path, smooth, format, mode, options):
    data, path = raster(smooth, format, mode, **options), tmp_path / "image"
    path.write_bytes(data)
    whole = read_grey(path)
    for length in [*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 20, len(data))]:
        path.write_bytes(data[:length])
        assert_refused_or_equal(path, whole)


def test_one_bit_becomes_black_and_white(read, pixels):
    bits = pixels > 128
    np.testing.assert_array_equal(read(raster(Image.fromarray(bits), "PNG")).pixels, np.where(bits, 255, 0))


def test_a_transparent_palette_entry_becomes_black(read):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([255, 255, 255, 200, 200, 200, 90, 90, 90])
    picture = read(raster(image, "PNG", transparency=1))
    np.testing.assert_array_equal(picture.pixels, [[255, 0, 90]])
    assert picture.flags == ("transparency made black",)


def test_opaque_alpha_is_not_flagged(read, pixels):
    picture = read(raster(pixels, "PNG", "RGBA"))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.flags == ()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone_and_flagged(read, smooth, format, orientation):
    stored = {
        1: smooth,
        2: smooth[:, ::-1],
        3: smooth[::-1, ::-1],
        4: smooth[::-1],
        5: smooth.T,
        6: np.rot90(smooth),
        7: np.rot90(smooth, 2).T,
        8: np.rot90(smooth, -1),
    }[orientation]
    picture = read(raster(np.ascontiguousarray(stored), format, "RGB", exif=turned(orientation)))
    assert picture.shape == smooth.shape
    assert np.abs(picture.pixels.astype(int) - smooth).mean() < 3
    assert picture.flags == (() if orientation == 1 else ("turned by its EXIF tag",))


def test_a_reduced_jpeg_keeps_its_full_shape_and_its_long_side(read):
    rows, columns = np.indices((1203, 955))
    scene = (128 + 60 * np.sin(rows / 90) + 60 * np.cos(columns / 70)).astype(np.uint8)
    data = raster(scene, "JPEG", quality=95)
    full = read(data).pixels
    fit = Fit.of(full.shape, 64)
    for at_least, long_side in [(2000, 1203), (602, 1203), (601, 602), (301, 602), (300, 301), (150, 151), (9, 151)]:
        picture = read(data, at_least=at_least)
        assert picture.shape == full.shape
        assert max(picture.pixels.shape) == long_side
        assert np.abs(fit.image(picture.pixels).astype(int) - fit.image(full)).mean() < 1.5


def test_a_jpeg_that_has_to_be_turned_is_decoded_in_full(read, smooth):
    data = raster(smooth, "JPEG", exif=turned(6))
    np.testing.assert_array_equal(read(data, at_least=10).pixels, read(data).pixels)


def test_a_reduced_colour_jpeg_is_its_luminance(read, smooth):
    data = raster(np.stack([smooth, smooth[:, ::-1], smooth // 2], axis=-1), "JPEG", quality=95)
    reduced, full = read(data, at_least=100).pixels, read(data).pixels
    assert max(reduced.shape) == 102
    assert np.abs(Fit.of(full.shape, 50).image(reduced).astype(int) - Fit.of(full.shape, 50).image(full)).mean() < 2


def test_broken_tags_do_not_cost_the_pixels(read, smooth):
    data = raster(smooth, "JPEG", exif=turned(3)).replace(b"Exif\0\0MM", b"Exif\0\0ZZ")
    assert read(data).flags == ()
    assert np.abs(read(data).pixels.astype(int) - smooth).mean() < 2


def test_pixels_that_are_cut_off_show_even_where_the_tags_follow_them(read, smooth):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    data = raster(noise, "PNG", exif=turned(3))
    with pytest.raises(IgclError, match="cannot be decoded"):
        read(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("name", "format", "flags"),
    [
        ("image.jpg", "PNG", ("suffix says .jpg, content is PNG",)),
        ("image.PNG", "JPEG", ("suffix says .PNG, content is JPEG",)),
        ("image.dcm", "TIFF", ("suffix says .dcm, content is TIFF",)),
        ("image.jpeg", "JPEG", ()),
        ("image.xyz", "PNG", ()),
    ],
)
def test_a_wrong_suffix_is_flagged(read, smooth, name, format, flags):
    assert read(raster(smooth, format), name).flags == flags


@pytest.mark.parametrize("level", [0, 200])
def test_a_constant_image_is_flagged(read, level):
    picture = read(raster(np.full((5, 6), level, np.uint8), "PNG"))
    assert (picture.pixels == level).all()
    assert picture.flags == ("constant",)


def test_a_deep_constant_image_becomes_black(read):
    picture = read(raster(np.full((5, 6), 3000, np.uint16), "PNG"))
    assert (picture.pixels == 0).all()
    assert picture.flags == ("range stretched to 8 bits", "constant")


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_a_hot_and_a_dead_pixel_do_not_take_the_range(read, format):
    deep = np.linspace(1000, 4000, 64 * 64).astype(np.uint16).reshape(64, 64)
    spoilt = deep.copy()
    spoilt[5, 5], spoilt[9, 9] = 65535, 0
    clean, got = read(raster(deep, format)).pixels, read(raster(spoilt, format)).pixels
    assert np.abs(got.astype(int) - clean).mean() < 0.5
    assert (got[5, 5], got[9, 9]) == (255, 0)


def test_a_letter_burned_in_does_not_take_the_range(read):
    deep = np.linspace(1000, 4000, 100 * 100).astype(np.uint16).reshape(100, 100)
    lettered = deep.copy()
    lettered[2:9, 2:8] = 65535
    clean, got = read(raster(deep, "PNG")).pixels, read(raster(lettered, "PNG")).pixels
    assert np.abs(got[10:].astype(int) - clean[10:]).mean() < 1
    assert (got[2:9, 2:8] == 255).all()


def test_a_few_values_on_a_constant_ground_keep_their_contrast(read):
    deep = np.full((64, 64), 100, np.uint16)
    deep[7, 7] = 900
    picture = read(raster(deep, "PNG"))
    assert picture.pixels[7, 7] == 255
    assert picture.pixels.sum() == 255


def test_numbers_that_are_none_become_black_or_white(read):
    values = np.linspace(-3, 5, 100, dtype=np.float32).reshape(10, 10)
    values[0, :3] = (np.nan, np.inf, -np.inf)
    picture = read(raster(values, "TIFF"))
    assert picture.pixels[0, :3].tolist() == [0, 255, 0]
    assert picture.pixels[9, 9] == 255
    assert picture.flags == ("range stretched to 8 bits", "NaN or infinite pixels")
    assert (read(raster(np.full((4, 4), np.nan, np.float32), "TIFF")).pixels == 0).all()


def test_values_of_32_bits_are_stretched(read):
    values = np.linspace(-100_000, 3_000_000, 400).astype(np.int32).reshape(20, 20)
    got = read(raster(values, "TIFF")).pixels
    assert (np.diff(got.ravel().astype(int)) >= 0).all()
    assert (got[0, 0], got[-1, -1]) == (0, 255)


@pytest.mark.parametrize(("kind", "low", "high"), [("u2", 0, 65535), ("i2", -32768, 32767), (">u2", 7, 900)])
def test_whole_numbers_are_stretched_as_by_sorting(kind, low, high):
    values = np.random.default_rng(0).integers(low, high, (700, 600), endpoint=True).astype(kind)
    values[0, :2] = low, high
    ordered = np.sort(values, axis=None)
    share = int(np.ceil(0.005 * values.size))
    np.testing.assert_array_equal(to_grey(values), to_bytes(values, *map(float, ordered[[share, -1 - share]])))
    levels, index, counts = count_levels(values)
    np.testing.assert_array_equal(levels[index], values)
    assert dict(zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True)) == {
        level: count for level, count in zip(levels.tolist(), counts.tolist(), strict=True) if count
    }


def test_the_stretched_range_is_made_of_order_statistics():
    values = np.random.default_rng(0).normal(2000, 300, 10_000).astype(int)
    levels, counts = np.unique(values, return_counts=True)
    ordered = np.sort(values)
    assert stretch_range(levels, counts) == (ordered[50], ordered[-51])
    shuffled = np.random.default_rng(1).permutation(len(levels))
    assert stretch_range(levels[shuffled], counts[shuffled]) == (ordered[50], ordered[-51])
    assert stretch_range(levels, np.zeros(len(levels), int)) == (0, 0)


def test_a_range_is_mapped_linearly():
    np.testing.assert_array_equal(to_bytes(np.array([0, 10, 60, 110, 200, np.nan]), 10, 110), [0, 0, 128, 255, 255, 0])


def test_colour_of_16_bits_is_flagged(read, pixels):

    rows = b"".join(b"\0" + np.repeat(row.astype(">u2") * 257, 3).tobytes() for row in pixels)
    picture = read(png(*pixels.shape, depth=16, colour=2, rows=rows))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.flags == ("colour of 16 bits cut to 8",)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_frames_are_refused(read, smooth, format):
    further = [Image.fromarray(smooth // 2), Image.fromarray(smooth // 3)]
    with pytest.raises(IgclError, match="image: has several frames"):
        read(raster(smooth, format, save_all=True, append_images=further))


def test_of_a_cameras_jpeg_the_first_frame_counts(read, smooth):
    data = raster(smooth, "MPO", save_all=True, append_images=[Image.fromarray(smooth // 2)])
    assert np.abs(read(data, "image.jpg").pixels.astype(int) - smooth).mean() < 2
    assert read(data, "image.jpg").flags == ()


@pytest.mark.parametrize("size", [(9000, 9000), (60_000, 60_000)])
def test_an_absurd_size_is_refused_in_one_line(read, size):
    with pytest.raises(IgclError, match="pixels") as error:
        read(png(*size, depth=8, colour=0, rows=b""))
    assert "\n" not in str(error.value)


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("igcl_lightning.reports.files.MAX_BYTES", 100)
    (tmp_path / "image.png").write_bytes(b"x" * 101)
    with pytest.raises(IgclError, match="image.png: larger than 100 bytes"):
        read_picture(tmp_path / "image.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "its content is none of DICOM, JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "its content is none of DICOM, JPEG, PNG"),
    ],
)
def test_what_is_no_image_is_said(read, content, said):
    with pytest.raises(IgclError, match=said):
        read(content)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(IgclError, match="not a regular file"):
        read_picture(tmp_path)


def test_warnings_of_libraries_stay_inside(read, smooth):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[270] = "scene"
    data = raster(smooth, "TIFF", tiffinfo=info).replace(b"scene", b"\xff\xfe\xff\xfe\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(data)
        with pytest.raises(IgclError):
            read(data[:-60])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_the_complaints_of_libtiff_stay_inside(read, smooth, compression, capfd):
    data = bytearray(raster(smooth, "TIFF", compression=compression))
    data[40:80] = bytes(40)
    with pytest.raises(IgclError, match="image: cannot be decoded"):
        read(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_quality_is_the_callers(smooth):
    assert len(encode_grey(smooth, lossless=False, quality=50)) < len(encode_grey(smooth, lossless=False))


@pytest.mark.data
def test_edge_cases(data_folder):
    folder = data_folder / "edge_cases"
    rgba = read_picture(folder / "covid_rgba.png")
    assert rgba.pixels.ndim == 2
    black = read_picture(folder / "all_black.png")
    assert "constant" in black.flags
    assert (Fit.of(black.shape, 64).image(black.pixels) == 0).all()
    turned_over = read_picture(folder / "nih_upside_down_00003490_011.jpg")
    assert turned_over.flags == ()  # nothing in the file says so
    with pytest.raises(IgclError, match="truncated.jpg: cannot be decoded"):
        read_picture(folder / "truncated.jpg")


def test_an_error_names_no_memory_address(tmp_path):
    """Otherwise the manifests of two equal runs would differ."""
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    with pytest.raises(IgclError) as raised:
        read_grey(tmp_path / "cut.png")
    with pytest.raises(UnidentifiedImageError) as plain:
        Image.open(io.BytesIO(b"no image"))
    assert "0x" not in str(raised.value)
    assert one_line(plain.value) == "cannot identify image file"
