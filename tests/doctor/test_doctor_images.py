import io
import shutil
from itertools import combinations

import numpy as np
import pytest
from broken_stores import change_row, picture, rewrite, said, study, write_store
from PIL import Image

from igcl_lightning.data.images import decode_grey, encode_grey, read_grey
from igcl_lightning.data.study import StudyImage
from igcl_lightning.doctor.image_bytes import check_bytes, check_duplicates, duplicate_groups
from igcl_lightning.doctor.likeness import check_near_duplicates, check_orientation, similar_pairs, turns
from igcl_lightning.doctor.looks import THUMBNAIL, check_looks, evenly, look_at
from igcl_lightning.doctor.opened import OpenedStore

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"


def looks_of(store, rows=0):
    opened = OpenedStore(store)
    return opened, look_at(opened, evenly(opened.num_rows, rows), threads=2)


def image_of(data):
    return {"image": {"bytes": data, "path": None}}


def jpeg(pixels, quality=80):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def scene(number, size=64):
    """A smooth picture of its own."""
    coarse = Image.fromarray(picture(number, 6))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def test_a_good_store_has_nothing_to_say(store):
    opened, looks = looks_of(store)
    group = duplicate_groups(opened)
    findings = [
        *check_bytes(opened),
        *check_duplicates(opened, group),
        *check_looks(opened, looks),
        *check_near_duplicates(opened, looks, group),
        *check_orientation(opened, looks),
    ]
    assert {finding.level for finding in findings} == {"ok", "not examined"}
    assert "no two of 12 stored images are equal, byte by byte" in said(findings)
    assert "12 of 12 (100 %) images decoded, none is broken or blank" in said(findings)


def test_missing_bytes_and_pointers_are_named(store):
    change_row(store, "train", 1, image=None)
    change_row(store, "test", 0, **image_of(b""))
    change_row(store, "valid", 1, **image_of(POINTER))
    assert said(check_bytes(OpenedStore(store)), "error") == [
        "2 images without bytes, such as 'row-1', 'row-5'; prepare the store again",
        "1 image replaced by a Git-LFS pointer, such as 'row-10'; run git lfs pull and prepare again",
    ]


def test_equal_pictures_across_splits_are_errors_and_within_one_warnings(store):
    opened = OpenedStore(store)
    first, fifth = (opened.images[number].as_py() for number in (0, 4))
    change_row(store, "test", 1, **image_of(first))
    change_row(store, "train", 6, **image_of(fifth))
    change_row(store, "train", 7, **image_of(fifth))
    opened = OpenedStore(store)
    error, warning = check_duplicates(opened, duplicate_groups(opened))
    assert (error.level, warning.level) == ("error", "warning")
    assert error.message.startswith("1 picture in several splits, 2 rows, such as 'row-0' (train) and 'row-11' (test)")
    assert warning.message.startswith("1 picture more than once within a split, 3 rows")
    assert [place.row for place in error.rows] == ["row-0", "row-11"]


def test_groups_of_equal_pictures_are_those_of_a_comparison_of_all_pairs(tmp_path):
    # Few lengths and one head: the words from the middle alone do not decide.
    rng = np.random.default_rng(0)
    data = [bytes(rng.integers(0, 2, int(rng.integers(0, 4)), dtype=np.uint8)) for _ in range(20)]
    data += [b"a" * 100 + bytes([number]) + b"b" * 100 for number in (1, 1, 2)]
    data += [b"x" + b"a" * 200, b"y" + b"a" * 200, b"x" + b"a" * 200]
    path = write_store(tmp_path / "store", [study(number, split="train") for number in range(len(data))], size=8)

    def edit(rows):
        for row, stored in zip(rows, data, strict=True):
            row["image"] = {"bytes": stored, "path": None}

    rewrite(path, "train", edit)
    group = duplicate_groups(OpenedStore(path))
    for first, second in combinations(range(len(data)), 2):
        same = bool(data[first]) and data[first] == data[second]
        assert (group[first] == group[second] and group[first] >= 0) == same
    assert (group[[n for n, stored in enumerate(data) if data.count(stored) == 1 or not stored]] == -1).all()


def test_broken_blank_and_odd_images_are_named(store):
    change_row(store, "train", 0, **image_of(jpeg(scene(1, 200))[:500]))
    change_row(store, "train", 1, **image_of(b"no image at all"))
    change_row(store, "train", 2, **image_of(encode_grey(np.full((32, 32), 200, np.uint8), lossless=True)))
    change_row(store, "valid", 0, **image_of(encode_grey(np.zeros((32, 32), np.uint8), lossless=True)))
    change_row(store, "test", 0, **image_of(encode_grey(picture(9, 48), lossless=True)))
    findings = list(check_looks(*looks_of(store)))
    assert [finding.level for finding in findings] == ["error", "warning", "error"]
    assert findings[0].message.startswith("2 of 12 (17 %) images cannot be decoded, such as 'row-0', 'row-1' (")
    assert findings[1].message == "2 of 12 (17 %) images are blank, such as 'row-2', 'row-4'"
    assert findings[2].message.startswith(
        "1 of 10 (10 %) images are not 32 x 32 pixels as the manifest says, such as 'row-5' (48 x 48)"
    )


def test_a_blank_image_is_blank_within_its_black_border(tmp_path):
    wide = study(0, images=(StudyImage("wide", np.full((10, 30), 180, np.uint8)),))
    noisy = picture(3) // 128 + np.uint8(100)
    nearly = study(1, images=(StudyImage("nearly", noisy),))
    path = write_store(tmp_path / "store", [wide, nearly, study(2)])
    _, looks = looks_of(path)
    assert looks.blank.tolist() == [True, True, False]


def test_mean_and_deviation_are_those_of_all_pixels(phantom_store):
    opened, looks = looks_of(phantom_store)
    pixels = np.stack([decode_grey(opened.images[number].as_py()) for number in range(opened.num_rows)]) / 255
    assert looks.mean == pytest.approx(pixels.mean())
    assert looks.std == pytest.approx(pixels.std())
    assert looks.thumbnail.shape == (opened.num_rows, THUMBNAIL, THUMBNAIL)


def test_rows_are_drawn_evenly_and_the_same_each_time():
    assert evenly(10, 0).tolist() == evenly(10, 99).tolist() == list(range(10))
    assert evenly(1000, 3).tolist() == [0, 500, 999]
    assert len(set(evenly(1000, 333).tolist())) == 333


def test_one_picture_in_other_bytes_is_found(tmp_path):
    studies = [study(n, images=(StudyImage(f"row-{n}", scene(n)),)) for n in range(30)]
    path = write_store(tmp_path / "store", studies, size=64)
    change_row(path, "test", 0, **image_of(jpeg(scene(0))))  # row-5 now shows what row-0 shows
    change_row(path, "train", 1, **image_of(jpeg(scene(2))))  # and row-1 what row-2 shows
    opened, looks = looks_of(path)
    group = duplicate_groups(opened)
    assert (group == -1).all()
    (finding,) = check_near_duplicates(opened, looks, group)
    assert finding.level == "warning"
    assert finding.numbers == {"pairs": 2, "crossing": 1}
    assert [place.row for place in finding.rows] == ["row-0", "row-5", "row-1", "row-2"]


def test_equal_bytes_are_not_told_twice(store):
    change_row(store, "test", 1, **image_of(OpenedStore(store).images[0].as_py()))
    opened, looks = looks_of(store)
    assert said(check_near_duplicates(opened, looks, duplicate_groups(opened)), "warning") == []


def test_similar_pairs_are_those_of_a_comparison_of_all_pairs():
    rng = np.random.default_rng(0)
    thumbnails = np.stack([scene(number, THUMBNAIL) for number in range(40)])
    noisy = np.clip(thumbnails[:15].astype(int) + rng.integers(-1, 2, thumbnails[:15].shape), 0, 255).astype(np.uint8)
    both = np.concatenate([thumbnails, noisy])
    unit = both.reshape(len(both), -1).astype(float)
    correlation = np.corrcoef(unit)
    expected = {(a, b) for a, b in combinations(range(len(both)), 2) if correlation[a, b] > 0.995}
    assert {tuple(pair) for pair in similar_pairs(both).tolist()} == expected
    assert len(expected) == 15
    assert similar_pairs(both[:1]).tolist() == similar_pairs(both[:0]).tolist() == []


def test_turned_images_are_named_and_upright_ones_are_not(phantom_store, tmp_path):
    path = tmp_path / "store"
    shutil.copytree(phantom_store, path)
    quarters = {3: 1, 11: 2, 20: 3}

    def edit(rows):
        for index, quarter in quarters.items():
            pixels = np.rot90(decode_grey(rows[index]["image"]["bytes"]), quarter)
            rows[index]["image"]["bytes"] = encode_grey(np.ascontiguousarray(pixels), lossless=True)

    rewrite(path, "train", edit)
    opened, looks = looks_of(path)
    (finding,) = check_orientation(opened, looks)
    assert [(place.split, place.number) for place in finding.rows] == [("train", index) for index in quarters]
    assert finding.level == "warning"
    turned = [phrase.split(")")[0] for phrase in finding.message.split("(")[2:5]]
    assert turned == ["a quarter to the left", "upside down", "a quarter to the right"]
    assert said(check_orientation(*looks_of(phantom_store)), "warning") == []


def test_too_few_frontal_images_are_not_judged(store):
    change_row(store, "train", 0, view="lateral")
    assert said(check_orientation(*looks_of(store))) == ["11 images known to be frontal, fewer than 20"]


@pytest.mark.data
def test_a_black_file_is_blank_and_a_radiograph_is_not(data_folder, tmp_path):
    folder = data_folder / "edge_cases"
    files = (folder / "all_black.png", folder / "nih_upside_down_00003490_011.jpg", folder / "covid_rgba.png")
    studies = [study(number, images=(StudyImage(file.stem, file, "PA"),)) for number, file in enumerate(files)]
    _, looks = looks_of(write_store(tmp_path / "store", studies, size=64))
    assert looks.blank.tolist() == [True, False, False]


@pytest.mark.data
def test_orientation_and_likeness_on_real_radiographs(data_folder, tmp_path):
    files = sorted((data_folder / "nih_cxr14" / "images").iterdir())
    thumbnails = np.stack([_thumbnail(read_grey(file)) for file in files])
    turn = turns(thumbnails)
    turned = {file.stem for file, quarter in zip(files, turn, strict=True) if quarter}
    assert "00003490_011" in turned  # the one that is upside down
    assert len(turned) <= 1 + 0.01 * len(files)
    for quarter in (1, 2, 3):
        mixed = thumbnails.copy()
        chosen = np.arange(0, len(files), 10)
        mixed[chosen] = np.rot90(mixed[chosen], quarter, axes=(1, 2))
        assert (turns(mixed)[chosen] == quarter).mean() > 0.95
    pairs = {tuple(sorted(files[number].stem for number in pair)) for pair in similar_pairs(thumbnails)}
    assert pairs == {("00002658_001", "00002658_002")}
    again = np.stack([_thumbnail(decode_grey(jpeg(read_grey(file), quality=70))) for file in files[:200]])
    found = {tuple(pair) for pair in similar_pairs(np.concatenate([thumbnails[:200], again])).tolist()}
    assert sum((number, number + 200) in found for number in range(200)) > 190


def _thumbnail(pixels):
    side = max(pixels.shape)
    square = Image.new("L", (side, side))
    square.paste(Image.fromarray(pixels), ((side - pixels.shape[1]) // 2, (side - pixels.shape[0]) // 2))
    return np.asarray(square.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
