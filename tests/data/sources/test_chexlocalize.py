"""Regions of CheXlocalize as masks of CheXpert's images."""

import json
from collections import Counter

import numpy as np
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.regions import RunLengths
from igcl_lightning.data.sources.chexlocalize import read_regions
from igcl_lightning.data.sources.chexpert import read_chexpert
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from source_trees import chexpert_test_tree, write_image

IMAGE = "patient91011_study1_view1_frontal"
HEIGHT, WIDTH = 40, 32  # as `write_image` makes them
SQUARE = [[4.2, 8.0], [19.7, 8.0], [19.7, 30.9], [4.2, 30.9]]


def filled():
    """The square as Pillow draws it: with its outline, at whole pixels."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[8:31, 4:20] = True
    return mask


def coco_counts(mask):
    """COCO's run lengths of a mask, pixel by pixel."""
    counts, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            counts, value = [*counts, 0], pixel
        counts[-1] += 1
    return counts


def coco_text(counts):
    """COCO's text of run lengths, written as its documentation says: LEB128 of differences, 5 bits a character."""
    text = ""
    for place, count in enumerate(counts):
        number = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits = number & 31
            number >>= 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(bits + 48 + 32 * more)
    return text


@pytest.fixture
def root(tmp_path):
    return chexpert_test_tree(tmp_path / "CheXpert")


def write(path, entries):
    path.write_text(json.dumps(entries))
    return path


def annotations(path, **more):
    return write(path, {IMAGE: {"img_size": [HEIGHT, WIDTH], "Airspace Opacity": [SQUARE], **more}})


def segmentations(path, mask, as_text=True):
    counts = coco_counts(mask)
    entry = {"size": [HEIGHT, WIDTH], "counts": coco_text(counts) if as_text else counts}
    blank = {"size": [HEIGHT, WIDTH], "counts": coco_text([HEIGHT * WIDTH])}
    return write(path, {IMAGE: {"Airspace Opacity": entry, "Edema": blank}})


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_of_coco_give_the_mask(seed):
    shares = np.random.default_rng(seed).random((HEIGHT, WIDTH))
    for mask in (shares < 0.02, shares < 0.5, shares > 0.98, shares < 2, shares > 2):
        counts = coco_counts(mask)
        for form in (counts, coco_text(counts)):
            assert np.array_equal(RunLengths.of_coco(form, HEIGHT, WIDTH).mask(), mask)
        assert np.array_equal(RunLengths.of_mask(mask).mask(), mask)


def test_polygons_and_run_lengths_become_masks_under_the_names_of_chexpert(root, tmp_path):
    for file in (annotations(tmp_path / "gt_annotations_test.json"), segmentations(tmp_path / "s.json", filled())):
        source = read_chexpert(root, masks=file)
        images = {image.image_id: image for study in source.items() for image in study.images}
        masks = images["test/patient91011/study1/view1_frontal.jpg"].masks
        assert list(masks) == ["Lung Opacity"]
        assert np.array_equal(masks["Lung Opacity"].mask(), filled())
        assert sum(bool(image.masks) for image in images.values()) == 1
        assert file in source.inputs
        assert source.masks


def test_segmentations_come_before_annotations(root, tmp_path):
    annotations(tmp_path / "gt_annotations_test.json")
    small = np.zeros((HEIGHT, WIDTH), bool)
    small[3, 5] = True
    segmentations(tmp_path / "gt_segmentations_test.json", small)
    regions, files = read_regions(tmp_path, Counter())
    assert regions[IMAGE]["Lung Opacity"].runs().runs == ((5 * HEIGHT + 3, 1),)
    assert len(files) == 2


def test_polygons_without_an_area_are_counted(tmp_path):
    counts = Counter()
    file = annotations(tmp_path / "a.json", Edema=[[[1, 1], [5, 5]]], Fracture=[])
    assert list(read_regions(file, counts)[0][IMAGE]) == ["Lung Opacity"]
    assert counts == {"regions of less than three corners": 1}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"Edema": {"size": [40, 32], "counts": "PVWX6"}},
            f"{IMAGE}, Edema: ValueError: run lengths of 6560960 pix",
        ),
        ({"Edema": {"size": [40, 32], "counts": "P"}}, "Edema: ValueError: the run lengths are cut off"),
        ({"Edema": {"size": [40, 32], "counts": "\x01"}}, "Edema: ValueError: .* is not in COCO's run lengths"),
        ({"Edema": {"size": [10**9, 10**9], "counts": "0"}}, "Edema: ValueError: a size of 1000000000 x 1000000000"),
        ({"Edema": {"size": [40], "counts": "0"}}, "Edema: TypeError"),
        ({"Edema": [[[1, 2], [3, 4], [5, 6]]]}, "Edema: KeyError: 'img_size'"),
        ({"img_size": [40, 32], "Edema": [[[1, "x"]]]}, "Edema: ValueError"),
        (3, f"{IMAGE}, img_size: AttributeError"),
    ],
)
def test_a_damaged_region_is_named(root, tmp_path, entry, message):
    with pytest.raises(IgclError, match=f"--masks .*s.json: .*{message}"):
        read_chexpert(root, masks=write(tmp_path / "s.json", {IMAGE: entry}))


def test_wrong_files_are_named(root, tmp_path):
    for file, message in (
        (tmp_path / "gone.json", "gone.json: no such file or directory"),
        (root / "groundtruth.csv", "groundtruth.csv: not JSON"),
        (write(tmp_path / "list.json", [1]), "list.json: not CheXlocalize's"),
        (root, "--masks .*CheXpert: contains none of "),
        (write(tmp_path / "other.json", {"patient1_study1_view1_frontal": {}}), "none of its ids, such as 'patient1_"),
    ):
        with pytest.raises(IgclError, match=message):
            read_chexpert(root, masks=file)


def test_masks_are_stored(root, tmp_path):
    words = ["prepare", "chexpert", "--root", str(root), "--out", str(tmp_path / "store"), "--size", "40"]
    assert main([*words, "--masks", str(annotations(tmp_path / "a.json"))]) is None
    rows = {row["row"]: row for row in Store(tmp_path / "store").table("test")}
    masks = rows["test/patient91011/study1/view1_frontal.jpg"]["masks"]
    assert masks["label"] == ["Lung Opacity"]
    assert np.array_equal(decode_grey(masks["png"][0])[:, 4:36] > 0, filled())


def test_masks_of_full_size_are_rescaled_to_smaller_images(root, tmp_path):
    image = root / "test/patient91011/study1/view1_frontal.jpg"
    write_image(image, height=HEIGHT // 2, width=WIDTH // 2)
    other = root / "test/patient91012/study1/view1_frontal.jpg"
    entries = json.loads(annotations(tmp_path / "a.json").read_text())
    file = write(
        tmp_path / "a.json", entries | {"patient91012_study1_view1_frontal": {**entries[IMAGE], "img_size": [50, 32]}}
    )
    manifest = prepare(read_chexpert(root, masks=file), tmp_path / "store", options=Options(size=HEIGHT // 2))
    rows = {row["row"]: row for row in Store(tmp_path / "store").table("test")}
    row = rows["test/patient91011/study1/view1_frontal.jpg"]
    assert np.array_equal(decode_grey(row["masks"]["png"][0])[:, 2:18] > 0, filled()[1::2, 1::2])
    assert row["flags"] == ["masks rescaled to the image"]
    assert other.exists()
    assert manifest["dropped"] == {"mask of another size than the image": 1}, "of other proportions"


@pytest.mark.data
def test_published_polygons_and_run_lengths_agree(data_folder):
    sample = data_folder / "format_fixtures/chexlocalize_sample"
    drawn, run = (
        read_regions(sample / f"gt_{kind}_val.json", Counter())[0] for kind in ("annotations", "segmentations")
    )
    pairs = {
        (image, label): (region.runs(), run[image][label].runs())
        for image, regions in drawn.items()
        for label, region in regions.items()
    }
    assert len(pairs) == sum(map(len, run.values())) == 4
    assert all(first == second for first, second in pairs.values())
