import io
import os
import pickle
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

from igcl_lightning.data.images import read_picture
from igcl_lightning.data.pictures import compressed
from igcl_lightning.errors import IgclError
from image_files import assert_refused_or_equal, bare_dicom, dataset_of, dicom, file_of, gdcm_dicom, raster

STRETCHED = "range stretched to 8 bits"


@pytest.fixture
def stored():
    """12-bit values in 16 bits, every 13th of them."""
    return (np.arange(15 * 21, dtype=np.uint16) * 13).reshape(15, 21)


@pytest.fixture
def read(tmp_path):
    def of(data: bytes):
        path = tmp_path / "image.dcm"
        path.write_bytes(data)
        return read_picture(path)

    return of


@pytest.fixture
def refused(tmp_path):
    def of(data: bytes) -> str:
        path = tmp_path / "image.dcm"
        path.write_bytes(data)
        with pytest.raises(IgclError) as error:
            read_picture(path)
        message = str(error.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message

    return of


def window(x, centre, width):
    """PS3.3 C.11.2.1.2.1, pixel by pixel, for an output of 0 to 255."""
    if x <= centre - 0.5 - (width - 1) / 2:
        return 0
    if x > centre - 0.5 + (width - 1) / 2:  # as good as any for a width of 1, whose window is a step
        return 255
    return round(((x - (centre - 0.5)) / (width - 1) + 0.5) * 255)


def each(function, values, *args):
    return np.array([[function(float(value), *args) for value in row] for row in values])


def assert_equal_up_to_rounding(got, expected):
    """Equal but for values that the formula puts on the edge between two grey levels."""
    assert np.abs(got.astype(int) - expected).max() <= 1
    assert (got != expected).mean() < 0.02


@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 500), (2000, 1), (-300, 100), (3000.5, 700.25)])
def test_a_window_follows_the_formula_of_the_standard(read, stored, centre, width):
    expected = each(window, stored, centre, width)
    picture = read(dicom(stored, BitsStored=12, HighBit=11, WindowCenter=centre, WindowWidth=width))
    assert_equal_up_to_rounding(picture.pixels, expected)
    assert STRETCHED not in picture.flags


def test_a_window_counts_in_rescaled_values(read, stored):
    picture = read(dicom(stored, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1500, WindowWidth=2000))
    assert_equal_up_to_rounding(picture.pixels, each(window, stored * 2.0 - 1000, 1500, 2000))


def test_a_negative_slope_turns_the_grey_levels_round(read, stored):
    picture = read(dicom(stored, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096))
    assert_equal_up_to_rounding(picture.pixels, each(window, 4095.0 - stored, 2048, 4096))


@pytest.mark.parametrize(("bits", "centre", "width", "fits"), [(12, 128, 256, False), (12, 2048, 4096, True)])
def test_a_window_for_other_bits_is_flagged(read, bits, centre, width, fits):
    scene = np.add.outer(np.arange(40), np.arange(60)) * 40
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        shown = {"PhotometricInterpretation": photometric, "WindowCenter": centre, "WindowWidth": width}
        picture = read(dicom(scene.astype(np.uint16), **TWELVE, **shown))
        assert ("window does not fit the pixels" in picture.flags) == (not fits)
        assert STRETCHED not in picture.flags


def test_a_window_for_more_bits_is_flagged(read, grey):
    assert read(dicom(grey, WindowCenter=2048, WindowWidth=4096)).flags == ("window does not fit the pixels",)
    assert read(dicom(grey, WindowCenter=128, WindowWidth=256)).flags == ()


def test_a_black_border_does_not_count_against_a_window(read):
    scene = np.zeros((40, 60), np.uint16)
    scene[:10, :20] = np.add.outer(np.arange(10), np.arange(20)) * 60 + 1500
    assert read(dicom(scene, **TWELVE, WindowCenter=2300, WindowWidth=2000)).flags == ()


@pytest.fixture
def grey():
    """A scene of 8 bits that does not use them all."""
    return (np.add.outer(np.arange(40), np.arange(60)) + 60).astype(np.uint8)


@pytest.mark.parametrize(
    "attributes",
    [{}, {"RescaleSlope": 1, "RescaleIntercept": 0}, {"RescaleSlope": 2, "RescaleIntercept": -9}, {"WindowCenter": 3}],
)
def test_pixels_of_8_bits_without_a_window_are_those_of_a_png(read, grey, attributes):
    picture = read(dicom(grey, **attributes))
    np.testing.assert_array_equal(picture.pixels, read(raster(grey, "PNG")).pixels)
    assert picture.flags == ()
    np.testing.assert_array_equal(read(dicom(grey.astype(np.uint16), BitsStored=8, HighBit=7)).pixels, grey)


def test_8_bits_that_are_signed_or_turned_round_use_the_whole_range(read, grey):
    np.testing.assert_array_equal(read(dicom((grey.astype(int) - 128).astype(np.int8))).pixels, grey)
    np.testing.assert_array_equal(read(dicom(grey, RescaleSlope=-1, RescaleIntercept=255)).pixels, 255 - grey)


def test_the_other_window_functions(read, stored):
    values = stored.astype(float)
    exact = np.clip((values - 2000) / 1000 + 0.5, 0, 1) * 255
    sigmoid = 255 / (1 + np.exp(-4 * (values - 2000) / 1000))
    for function, expected in (("LINEAR_EXACT", exact), ("SIGMOID", sigmoid)):
        picture = read(dicom(stored, WindowCenter=2000, WindowWidth=1000, VOILUTFunction=function))
        assert_equal_up_to_rounding(picture.pixels, np.round(expected))


def test_the_first_of_several_windows_counts(read, stored):
    several = read(dicom(stored, WindowCenter=[1000, 3000], WindowWidth=[500, 50]))
    np.testing.assert_array_equal(several.pixels, read(dicom(stored, WindowCenter=1000, WindowWidth=500)).pixels)


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": 100, "WindowWidth": 0},
        {"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "CUBIC"},
    ],
)
def test_an_invalid_window_is_flagged_and_the_range_stretched(read, stored, attributes):
    picture = read(dicom(stored, **attributes))
    assert picture.flags == ("window is not valid", STRETCHED)
    np.testing.assert_array_equal(picture.pixels, read(dicom(stored)).pixels)


def test_empty_elements_count_as_absent(read, stored):
    empty = dict.fromkeys(("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue"))
    np.testing.assert_array_equal(read(dicom(stored, **empty)).pixels, read(dicom(stored)).pixels)


def test_without_a_window_the_range_is_stretched(read, stored):
    picture = read(dicom(stored))
    assert picture.flags == (STRETCHED,)
    assert (picture.pixels.min(), picture.pixels.max()) == (0, 255)
    assert (np.diff(picture.pixels.ravel().astype(int)) >= 0).all()


def test_signed_values_keep_their_order(read, stored):
    signed = stored.astype(np.int16) - 2000
    np.testing.assert_array_equal(read(dicom(signed)).pixels, read(dicom(stored)).pixels)


def lut(first: int, table, bits: int, vr: str = "US") -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(table) % 2**16, first, bits])
    item.add_new("LUTData", vr, table.astype("<u2").tobytes() if vr == "OW" else [int(entry) for entry in table])
    return Sequence([item])


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("bits", [8, 10, 16])
def test_a_voi_lut_is_looked_up_and_holds_beyond_its_ends(read, stored, bits, vr):
    table = np.round(np.linspace(0, 1, 3000) ** 2 * (2**bits - 1))
    picture = read(dicom(stored, VOILUTSequence=lut(500, table, bits, vr), WindowCenter=1, WindowWidth=2))
    entry = np.clip(stored.astype(int) - 500, 0, 2999)
    assert_equal_up_to_rounding(picture.pixels, np.round(table[entry] / (2**bits - 1) * 255))


def test_a_voi_lut_after_a_rescale(read, stored):
    table = np.arange(5000)
    sequence = lut(-1000, table, 16)
    picture = read(dicom(stored.astype(np.int16), RescaleSlope=1, RescaleIntercept=-1000, VOILUTSequence=sequence))
    assert_equal_up_to_rounding(picture.pixels, np.round(stored / 4999 * 255))


def test_a_modality_lut_comes_before_the_window(read, stored):
    table = np.arange(4096)[::-1]
    picture = read(dicom(stored, ModalityLUTSequence=lut(0, table, 16), WindowCenter=2048, WindowWidth=4096))
    assert_equal_up_to_rounding(picture.pixels, each(window, table[stored], 2048, 4096))


def test_monochrome1_is_inverted_after_the_window(read, stored):
    shown = {"WindowCenter": 1000, "WindowWidth": 500}
    picture = read(dicom(stored, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE", **shown))
    np.testing.assert_array_equal(picture.pixels, 255 - read(dicom(stored, **shown)).pixels)
    assert picture.flags == ("inverted (MONOCHROME1)",)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_outside_the_range(read, stored, photometric):
    padded = stored.copy()
    padded[:, :5], padded[:, 5] = 65535, 65000
    attributes = {"PhotometricInterpretation": photometric, "PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 65000}
    picture = read(dicom(padded, **attributes))
    assert (picture.pixels[:, :6] == 0).all()
    assert "padding made black" in picture.flags
    inside = read(dicom(np.ascontiguousarray(stored[:, 6:]), PhotometricInterpretation=photometric))
    np.testing.assert_array_equal(picture.pixels[:, 6:], inside.pixels)


def test_a_padding_value_that_no_pixel_has_is_not_flagged(read, stored):
    assert read(dicom(stored, PixelPaddingValue=65535)).flags == (STRETCHED,)


@pytest.mark.parametrize("value", [0, 700])
def test_a_constant_image_is_black_and_flagged(read, value):
    picture = read(dicom(np.full((6, 8), value, np.uint16)))
    assert (picture.pixels == 0).all()
    assert "constant" in picture.flags


def test_unused_high_bits_are_no_values(read, stored):
    overlaid = stored | np.uint16(0xF000)
    shown = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    np.testing.assert_array_equal(read(dicom(overlaid, **shown)).pixels, read(dicom(stored, **shown)).pixels)


@pytest.mark.parametrize("signed", [False, True])
def test_values_in_the_high_bits_are_shifted_down(read, stored, signed):
    """As old computed radiographs keep them, with an overlay in the bits below."""
    shown = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    if signed:
        stored = (stored.astype(np.int16) - 2048).view(np.uint16)
        shown |= {"PixelRepresentation": 1, "WindowCenter": 0}
    low, high = dicom(stored, **shown, HighBit=11), dicom(stored << 4 | np.uint16(5), **shown, HighBit=15)
    np.testing.assert_array_equal(read(high).pixels, read(low).pixels)


TWELVE = {"BitsStored": 12, "HighBit": 11}
LEFT_OUT = "bits above those stored left out"


def overlaid_frame(overlaid, name):
    """A picture with an overlay in its high bits, compressed, whose header says 12 bits."""
    if name == "JPEGLSLossless":
        pytest.importorskip("gdcm")
        dataset = pydicom.dcmread(io.BytesIO(gdcm_dicom(overlaid, name)))
        dataset.BitsStored, dataset.HighBit = 12, 11
        return file_of(dataset)
    syntax = {"reversible": JPEG2000Lossless, "irreversible": JPEG2000}[name]
    frame = raster(overlaid, "JPEG2000", no_jp2=True, irreversible=name == "irreversible")
    return dicom(overlaid, syntax, frame, **TWELVE)


@pytest.mark.parametrize("name", ["reversible", "irreversible", "JPEGLSLossless"])
def test_overlays_in_high_bits_of_compressed_pixels_are_left_out(read, stored, name):
    overlaid = stored.copy()
    overlaid[:, 4:12] |= np.uint16(0x5000)
    picture = read(overlaid_frame(overlaid, name))
    expected = read(dicom(stored, **TWELVE)).pixels
    assert np.abs(picture.pixels.astype(int) - expected).max() <= (2 if name == "irreversible" else 0)
    assert picture.flags == (LEFT_OUT, STRETCHED)


def test_signed_values_below_an_overlay_keep_their_sign(read, stored):
    signed = stored.astype(np.int16) - 2048
    bits = signed.view(np.uint16) & 0x0FFF
    bits[3] |= 0x2000
    frame = raster(bits, "JPEG2000", no_jp2=True)
    picture = read(dicom(bits, JPEG2000Lossless, frame, **TWELVE, PixelRepresentation=1))
    np.testing.assert_array_equal(picture.pixels, read(dicom(signed)).pixels)


def test_lossy_compression_beyond_the_largest_value_does_not_turn_black(read, stored):
    bright = np.where(stored > 3000, 4095, stored).astype(np.uint16)
    exceeding = np.where(bright == 4095, 4150, bright).astype(np.uint16)
    picture = read(dicom(exceeding, JPEG2000, raster(exceeding, "JPEG2000", no_jp2=True), **TWELVE))
    np.testing.assert_array_equal(picture.pixels, read(dicom(bright, **TWELVE)).pixels)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_byte_order_gives_the_same_picture(read, stored, syntax):
    np.testing.assert_array_equal(read(dicom(stored, syntax)).pixels, read(dicom(stored)).pixels)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_data_set_without_preamble_is_read(read, stored, implicit):
    np.testing.assert_array_equal(read(bare_dicom(stored, implicit)).pixels, read(dicom(stored)).pixels)


def test_rle_is_lossless(read, stored):
    dataset = dataset_of(stored)
    dataset.compress(RLELossless)
    np.testing.assert_array_equal(read(file_of(dataset)).pixels, read(dicom(stored)).pixels)


def test_jpeg_baseline_gives_what_pillow_decodes(read):
    grey = np.kron(np.arange(0, 240, 8, dtype=np.uint8).reshape(5, 6), np.ones((8, 8), np.uint8))
    frame = raster(grey, "JPEG", quality=95)
    shown = {"WindowCenter": 128, "WindowWidth": 256}
    got = read(dicom(grey, JPEGBaseline8Bit, frame, **shown)).pixels
    assert np.abs(got.astype(int) - grey).max() <= 3


@pytest.mark.parametrize(("syntax", "lossy"), [(JPEG2000Lossless, False), (JPEG2000, True)])
def test_jpeg_2000_of_16_bits(read, stored, syntax, lossy):
    frame = raster(stored, "JPEG2000", no_jp2=True, irreversible=lossy)
    got, expected = read(dicom(stored, syntax, frame)).pixels, read(dicom(stored)).pixels
    assert np.abs(got.astype(int) - expected).max() <= (2 if lossy else 0)


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless"])
def test_the_extra_decodes_lossless_jpeg(read, stored, name):
    pytest.importorskip("gdcm")
    np.testing.assert_array_equal(read(gdcm_dicom(stored, name)).pixels, read(dicom(stored)).pixels)


@pytest.mark.parametrize("bits", [10, 12])
def test_the_extra_decodes_jpeg_of_12_bits(read, refused, stored, bits):
    pytest.importorskip("gdcm")
    smooth = np.kron(stored >> (12 - bits), np.ones((8, 8), np.uint16))
    how = {"BitsStored": bits, "HighBit": bits - 1}
    data = gdcm_dicom(smooth, "JPEGExtendedProcess2_4", **how)
    assert UID("1.2.840.10008.1.2.4.51").encode() in data
    got, expected = read(data).pixels, read(dicom(smooth, **how)).pixels
    assert np.abs(got.astype(int) - expected).max() <= 2
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.Rows -= 8
    assert "its compressed frame" in refused(file_of(dataset))
    assert "pixels are damaged" in refused(data.replace(b"\xff\xda", b"\xff\xc5"))


def test_jpeg_of_12_bits_names_the_extra_that_it_needs(refused, stored, monkeypatch):
    monkeypatch.setattr(get_decoder(JPEGLossless), "_available", {})
    message = refused(dicom(stored, JPEGExtended12Bit, b"\xff\xd8\xff\xd9", **TWELVE))
    assert "JPEG Extended" in message
    assert message.endswith("pip install igcl-lightning[dicom]")


@pytest.mark.data
def test_hard_dicom_files(data_folder):
    folder = data_folder / "hard_inputs"
    read = {path.stem: read_picture(path) for path in [*folder.glob("*.dcm"), *folder.glob("*.png")]}
    plain = read["dicom_plain_12bit"]
    for name in ("dicom_12bit_jpeg_extended", "dicom_overlay_bits_j2k"):
        assert np.abs(read[name].pixels.astype(int) - plain.pixels).max() <= 1
    np.testing.assert_array_equal(read["dicom_8bit_no_window"].pixels, read["png_8bit_same_pixels"].pixels)


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14_1", "JPEGLSLossless"])
def test_broken_lossless_jpeg_neither_ends_the_process_nor_complains(tmp_path, stored, name, capfd):
    pytest.importorskip("gdcm")
    data, path = gdcm_dicom(stored, name), tmp_path / "image.dcm"
    for start in range(data.index(b"\xff\xd8"), len(data), 29):
        path.write_bytes(data[:start] + b"\xff\xc5" + data[start + 2 :])
        with suppress(IgclError):
            read_picture(path)
    path.write_bytes(data)
    read_picture(path)
    assert capfd.readouterr() == ("", "")


def test_a_decoder_that_crashes_costs_one_line_and_starts_again(refused, read, stored):
    pytest.importorskip("gdcm")
    data = gdcm_dicom(stored, "JPEGLosslessProcess14_1")
    read(data)
    compressed._decoder(os.getpid()).kill()
    assert "the decoder crashed or hung" in refused(data)
    np.testing.assert_array_equal(read(data).pixels, read(dicom(stored)).pixels)


def test_a_decoder_that_hangs_is_ended(refused, stored, monkeypatch):
    pytest.importorskip("gdcm")
    monkeypatch.setattr(compressed, "SECONDS", 0.05)
    compressed._decoder.cache_clear()  # a fresh one is busy importing for longer
    assert "the decoder crashed or hung" in refused(gdcm_dicom(stored, "JPEGLosslessProcess14_1"))


def test_a_missing_decoder_is_named_with_its_extra(refused, stored, monkeypatch):
    monkeypatch.setattr(get_decoder(JPEGLosslessSV1), "_available", {})
    message = refused(dicom(stored, JPEGLosslessSV1, b"\xff\xd8\xff\xd9"))
    assert "JPEG Lossless, Non-Hierarchical, First-Order Prediction" in message
    assert "1.2.840.10008.1.2.4.70" in message
    assert message.endswith("pip install igcl-lightning[dicom]")


@pytest.mark.parametrize(("syntax", "name"), [(HTJ2KLossless, "High-Throughput"), (MPEG2MPML, "MPEG2")])
def test_a_transfer_syntax_that_nothing_decodes_is_named(refused, stored, syntax, name):
    message = refused(dicom(stored, syntax, b"\0\0"))
    assert name in message
    assert message.endswith("convert the file to an uncompressed one")


def test_a_deflated_file_is_refused(refused, stored):
    assert "deflated" in refused(dicom(stored, DeflatedExplicitVRLittleEndian))


def test_colour_becomes_grey_as_in_pillow(read):
    colour = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    expected = np.round(colour @ [0.299, 0.587, 0.114])
    picture = read(dicom(colour))
    assert np.abs(picture.pixels - expected).max() <= 1
    assert picture.flags == ()


def test_colour_of_16_bits_becomes_grey(read):
    colour = np.random.default_rng(0).integers(0, 65536, (9, 8, 3), dtype=np.uint16)
    assert np.abs(read(dicom(colour)).pixels - (colour / 256) @ [0.299, 0.587, 0.114]).max() <= 2


def test_a_palette_becomes_grey(read):
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    ramp = np.arange(256, dtype="<u2")[::-1] * 257
    palette = {}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = ramp.tobytes()
    picture = read(dicom(index, PhotometricInterpretation="PALETTE COLOR", **palette))
    np.testing.assert_array_equal(picture.pixels, 255 - index)


def test_several_frames_are_refused(refused):
    frames = np.zeros((3, 4, 5), np.uint8)
    dataset = dataset_of(frames[0], NumberOfFrames=3)
    dataset.PixelData = frames.tobytes()
    assert "a DICOM file of 3 frames" in refused(file_of(dataset))


def test_a_file_without_pixels_is_named_by_its_class(refused, stored):
    dataset = dataset_of(stored)
    del dataset.PixelData
    assert "without pixels, of the class Digital X-Ray Image Storage" in refused(file_of(dataset))


def test_absurd_sizes_are_refused_before_they_are_allocated(refused, stored):
    assert "claims 65535 x 65535 pixels" in refused(dicom(stored, Rows=65535, Columns=65535))
    frame = raster(np.zeros((4, 5), np.uint8), "JPEG").replace(b"\0\x04\0\x05", b"\x2e\xe0\x2e\xe0")
    assert "says 5 x 4 pixels, its compressed frame 12000 x 12000" in refused(
        dicom(np.zeros((4, 5), np.uint8), JPEGBaseline8Bit, frame)
    )


def test_what_a_broken_header_says_is_shown_in_printable_letters(refused, stored):
    data = dicom(stored).replace(b"\xe0\x7f\x10\x00", b"\xe1\x7f\x10\x00")  # its pixels under another tag
    spoilt = data.replace(DigitalXRayImageStorageForPresentation.encode(), b"1.2\n\x0240.10008.5.1.4.1.1.1.1")
    assert refused(spoilt).endswith("of the class 1.2 40.10008.5.1.4.1.1.1.1")


def test_32_bits_are_refused(refused):
    assert "32 bits per pixel" in refused(dicom(np.zeros((4, 5), np.uint32)))


def test_compressed_pixels_without_a_transfer_syntax_are_refused(refused, stored):
    data = dicom(stored, RLELossless, b"\0" * 64)
    assert "names no transfer syntax" in refused(data[data.index(b"\x08\x00\x16\x00") :])


def test_a_truncated_file_is_refused_or_complete(tmp_path, stored):
    dataset = dataset_of(stored)
    dataset.compress(RLELossless)
    path = tmp_path / "image.dcm"
    files = [dicom(stored), dicom(stored, ImplicitVRLittleEndian), bare_dicom(stored, implicit=True), file_of(dataset)]
    for data in files:
        path.write_bytes(data)
        whole = read_picture(path).pixels
        for length in range(0, len(data), 7):
            path.write_bytes(data[:length])
            assert_refused_or_equal(path, whole)


def test_the_header_holds_what_is_there(read, stored):
    attributes = {"PatientID": "p1", "PatientSex": "F", "PatientAge": "061Y", "ViewPosition": "PA", "StudyDate": ""}
    picture = read(dicom(stored, PatientOrientation=["L", "F"], **attributes))
    header = dict(picture.header)
    assert header.pop("SOPInstanceUID")
    del attributes["StudyDate"]
    expected = attributes | {"PatientOrientation": "L\\F", "PhotometricInterpretation": "MONOCHROME2"}
    assert header == expected


@pytest.mark.parametrize(
    ("view", "orientation", "flagged"),
    [
        ("PA", "LF", False),
        ("AP", "RF", True),
        ("AP", "LH", True),
        ("", "PF", False),
        ("", "FL", True),
        ("LL", "AF", False),
        ("LL", "LF", True),
    ],
)
def test_an_orientation_that_is_not_upright_is_flagged(read, stored, view, orientation, flagged):
    picture = read(dicom(stored, ViewPosition=view, PatientOrientation=list(orientation)))
    phrase = f"patient orientation {orientation[0]}\\{orientation[1]} is not upright"
    assert (phrase in picture.flags) == flagged
    assert ("lateral view" in picture.flags) == (view == "LL")
    np.testing.assert_array_equal(picture.pixels, read(dicom(stored)).pixels)


def test_a_picture_travels_between_processes(read, stored):
    picture = read(dicom(stored, PatientID="p1"))
    again = pickle.loads(pickle.dumps(picture))
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    assert again[1:] == picture[1:]


def test_pydicom_is_not_imported_for_other_images():
    code = "import sys, igcl_lightning.data.images; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
