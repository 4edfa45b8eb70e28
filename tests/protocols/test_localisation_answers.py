"""Localisation as a protocol: planted maps on boxes and masks, each contestant's maps, and what is refused."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from igcl_lightning.cli import main
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.regions import Box
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.overview import format_overview
from igcl_lightning.modules import IGCL, SimCLR
from igcl_lightning.protocols import evaluation, localisation
from igcl_lightning.protocols.contestants import Contestant, baseline, from_checkpoint, from_encoder
from igcl_lightning.protocols.evaluation_cell import Plan, run_cell
from igcl_lightning.protocols.localisation import Localisation, measure_maps
from igcl_lightning.protocols.pictures import EDGE, with_map
from saved import save_as_fit
from stores import prepare_studies

LABELS = ("Edema", "Nodule")
CELL = 8
PLACES = {0: (0, 0), 1: (1, 2), 2: (3, 1), 3: (2, 2), 4: (2, 0), 5: (3, 3)}
"""Row and column, in cells of a grid of 4 x 4, of the one lesion of each image."""


def drawn(index, way):
    """An image that is bright in its lesion, which is marked as a box, a mask, or both; image 5 has an empty mask."""
    row, column = PLACES[index]
    inside = np.zeros((4 * CELL, 4 * CELL), bool)
    inside[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = True
    label = LABELS[index % 2]
    masks = {label: inside & (index != 5), "left_lung": ~inside} if way != "boxes" else {}
    box = Box(label, column * CELL, row * CELL, (column + 1) * CELL, (row + 1) * CELL)
    image = StudyImage(
        f"image-{index}",
        np.where(inside, 200, 10).astype(np.uint8),
        boxes=(box,) if way != "masks" and index != 5 else (),
        masks=masks,
    )
    return Study(f"study-{index}", f"patient-{index // 3}", (image,), labels={label: 1.0}, split="test")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    made = {}
    for way in ("boxes", "masks", "both"):
        path = tmp_path_factory.mktemp("marked") / way
        studies = [partial(drawn, index, way) for index in PLACES]
        marks = {"boxes": way != "masks", "masks": way != "boxes"}
        prepare_studies(
            studies, path, labels=[*LABELS, "Pneumothorax"], **marks, options=Options(size=4 * CELL, lossless=True)
        )
        made[way] = Store(path)
    return made


def planted(image, label, sign=1):
    """The image's own brightness, cell by cell."""
    return sign * F.avg_pool2d(image.float(), CELL)[:, 0]


@pytest.mark.parametrize("way", ["boxes", "masks", "both"])
def test_a_planted_map_wins_and_its_inverse_loses(stores, way):
    found = measure_maps(planted, stores[way], "test", LABELS, [0.5, 1.0])
    assert found["row"].tolist() == [f"image-{index}" for index in range(5)], "nothing is marked in image 5"
    assert found["label"].tolist() == [LABELS[index % 2] for index in range(5)]
    assert (found[["pointing", "hit@0.5", "hit@1"]] == 1).all(axis=None)
    assert (found["chance"] == 1 / 16).all()
    assert (found[["whole@0.5", "whole@1"]] == 0).all(axis=None)
    inverse = measure_maps(partial(planted, sign=-1), stores[way], "test", LABELS, [0.5, 1.0])
    assert (inverse[["pointing", "hit@0.5", "hit@1"]] == 0).all(axis=None)
    constant = measure_maps(lambda image, label: torch.ones(len(image), 2, 2), stores[way], "test", LABELS, [0.05])
    assert (constant["pointing"] == constant["chance"]).all()
    assert (constant["hit@0.05"] == 0).all()
    assert (constant["whole@0.05"] == 1).all()


@pytest.mark.parametrize("way", ["boxes", "both"])
def test_the_map_of_the_first_image_of_each_label_is_kept_and_shown(stores, way):
    lines = measure_maps(planted, stores[way], "test", LABELS, [0.5]).assign(split="test", seed=0, by="prompts")
    assert lines["map"].notna().tolist() == [True, True, False, False, False]
    expected = np.full((4, 4), 10.0)
    expected[PLACES[1]] = 200
    assert lines["map"][1] == expected.tolist()
    other = lines.assign(seed=1, map=[[[0.0]]] * len(lines))
    (shown,) = Localisation().examples({Contestant("igcl", 3): pd.concat([lines, other])}, stores[way])
    assert "igcl-3" in shown.title
    assert not shown.reports
    assert [picture.title for picture in shown.pictures] == ["Edema", "Nodule"]
    assert all("100% of the brightest pixels" in picture.alt for picture in shown.pictures)


def test_a_map_is_over_the_image_and_the_region_has_an_edge():
    pixels = np.full((8, 8), 100, np.uint8)
    saliency, inside = np.zeros((8, 8)), np.zeros((8, 8), bool)
    saliency[:, 4:], inside[2:4, 2:4] = 5.0, True
    drawn = with_map(pixels, saliency, inside)
    times = len(drawn) // 8
    assert drawn.shape == (8 * times, 8 * times, 3)
    assert drawn[0, 0].tolist() == [100, 100, 100], "where the map is lowest the image is as it was"
    assert drawn[0, -1].tolist() != [100, 100, 100]
    edge = (drawn == EDGE).all(axis=-1)
    assert edge[2 * times, 2 * times]
    assert not edge[3 * times, 3 * times], "the inside stays visible"
    assert not edge[: 2 * times].any()
    assert (with_map(pixels, np.ones((8, 8)), ~inside & inside) == 100).all(), "the same everywhere marks nothing"


def test_the_blind_map_is_that_of_the_next_patient_with_the_label(stores):
    """Images 0-2 and 3-4 are of a patient each; the labels alternate."""
    asked = []

    def noted(image, label):
        asked.extend(image.flatten(1).argmax(dim=1).tolist())
        return planted(image, label)

    found = measure_maps(noted, stores["boxes"], "test", LABELS)
    assert len(asked) == 5
    assert (found["blind"] == 0).all(), "no two lesions are at one place"
    elsewhere = measure_maps(lambda image, label: planted(image.roll(1, 0), label), stores["boxes"], "test", LABELS)
    assert (elsewhere["pointing"] == 0).all()
    table = pd.DataFrame({"label": ["a", "a", "b", "a", "b"], "patient": ["x", "x", "x", "y", "x"]})
    assert localisation._next_patient(table) == [3, 3, None, 0, None]


def test_results_do_not_depend_on_the_batch_size(stores):
    def noise(image, label):
        return planted(image, label) * torch.sin(image.float().sum(dim=(1, 2, 3)) + label)[:, None, None]

    made = [measure_maps(noise, stores["both"], "test", LABELS, batch_size=size) for size in (1, 2, 64)]
    pd.testing.assert_frame_equal(made[0], made[1])
    pd.testing.assert_frame_equal(made[0], made[2])


def test_a_map_that_is_not_finite_is_an_error(stores):
    with pytest.raises(IgclError, match="a map has a value that is not finite: the model has diverged"):
        measure_maps(lambda image, label: planted(image, label) / 0, stores["boxes"], "test", LABELS)


@pytest.fixture(scope="module")
def phantoms(phantom_store):
    return Store(phantom_store)


@pytest.fixture(scope="module")
def contestants(tmp_path_factory, phantoms):
    folder, image = tmp_path_factory.mktemp("pretrained"), {"backbone": "test_byobnet", "size": 64}
    torch.manual_seed(0)
    models = {
        "igcl": IGCL(image=image, projection={"channels": 16}, graph={"channels": 16}),
        "simclr": SimCLR(image=image, projection={"channels": 16}),
    }
    made = [
        from_checkpoint(f"{name}={save_as_fit(each, folder / f'{name}.ckpt', phantoms.path)}")
        for name, each in models.items()
    ]
    return {each.method: each for each in [*made, baseline("random", made), baseline("supervised", made)]}


@pytest.fixture(scope="module")
def measured(phantoms, contestants):
    asked = Localisation(overlaps=[0.1], baseline_seeds=2, labels=["Pleural Effusion", "Support Devices"])
    made = {contestants[name]: asked.measure(contestants[name], phantoms, {}) for name in ("igcl", "simclr", "random")}
    return asked, made


def test_each_contestant_is_asked_by_the_maps_that_it_has(phantoms, contestants, measured):
    asked, made = measured
    asked.check(phantoms, [contestants["igcl"], contestants["simclr"], contestants["random"]])
    ways = {each.method: set(lines["by"]) for each, lines in made.items()}
    assert ways == {"igcl": {"prompts", "grad_cam"}, "simclr": {"grad_cam"}, "random": {"grad_cam"}}
    masks = phantoms.column("test", "masks")
    marked = [label for row in masks for label in ("Pleural Effusion", "Support Devices") if label in row["label"]]
    for lines in made.values():
        for _, own in lines.groupby(["by", "seed"]):
            assert own["label"].tolist() == marked
    random = made[contestants["random"]]
    first, second = (random[random["seed"] == seed]["pointing"].to_numpy() for seed in (0, 1))
    assert not np.array_equal(first, second), "the weights of each seed are its own"


def test_records_are_means_over_the_images_of_a_label(phantoms, contestants, measured):
    asked, made = measured
    records, text = asked.report(made, phantoms)
    lines = made[contestants["igcl"]]
    for label in ("Pleural Effusion", "Support Devices"):
        for by, column, metric in (
            ("prompts", "pointing", "pointing_prompts"),
            ("grad_cam", "blind", "pointing_grad_cam_blind"),
            ("prompts", "hit@0.1", "hit_prompts@0.1"),
            ("grad_cam", "chance", "pointing_chance"),
            ("grad_cam", "whole@0.1", "hit_whole_image@0.1"),
        ):
            (record,) = [
                each
                for each in records
                if (each["method"], each["label"], each["metric"]) == ("igcl", label, metric)
                and each["seed"] is None
                and each["versus"] is None
            ]
            own = lines[(lines["by"] == by) & (lines["label"] == label)]
            assert record["value"] == pytest.approx(own[column].mean())
            assert record["n"] == len(own)
    apart = {(each["metric"], each["versus"]) for each in records if each["versus"]}
    assert ("pointing_grad_cam", "random") in apart
    assert not {name for name, _ in apart} & {"pointing_chance", "hit_whole_image@0.1", "pointing_prompts"}
    assert "prompts, test rows" in text
    assert "Grad-CAM, test rows" in text
    titles = format_overview(records).splitlines()[4]
    for title in ("prompts", "prompts blind", "Grad-CAM", "Grad-CAM blind", "chance"):
        assert title in titles


def run_here(cells, jobs, child):
    for cell in cells:
        cell.folder.mkdir()
        run_cell(cell.folder, Plan(**cell.plan))
    return []


def test_the_command_evaluates_what_can_be_asked_and_leaves_out_the_rest(
    phantoms, contestants, measured, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(evaluation, "run_cells", run_here)
    options = {"protocol": "localisation", "labels": measured[0].labels, "overlaps": [0.1]}
    (tmp_path / "own.yaml").write_text(json.dumps(options))
    words = ["--protocol", str(tmp_path / "own.yaml"), "--store", str(phantoms.path), "--out", str(tmp_path / "out")]
    words += ["--checkpoint", f"igcl={contestants['igcl'].checkpoint}", "--baselines", "supervised"]
    assert main(["evaluate", *words]) == 0
    expected, text = measured[0].report({contestants["igcl"]: measured[1][contestants["igcl"]]}, phantoms)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == expected
    assert text in capsys.readouterr().out


def test_who_cannot_be_asked_and_why(contestants, tmp_path):
    asked = Localisation()
    assert [asked.why_not(contestants[name]) for name in ("igcl", "simclr", "random")] == ["", "", ""]
    assert asked.why_not(contestants["supervised"]) == "is trained from scratch"
    pd.DataFrame({"row": ["a"], "feature": [[0.0]]}).to_parquet(tmp_path / "own.parquet")
    features = from_encoder(str(tmp_path / "own.parquet"))
    assert asked.why_not(features) == "is a file of features, without images to point in"
    assert Localisation(by=["prompts"]).why_not(contestants["simclr"]) == "reads no reports, so no prompts"
    assert asked.why_not(from_encoder("timm:test_vit")) == ""


def test_an_encoder_without_a_grid_is_not_asked(monkeypatch):
    monkeypatch.setattr(localisation, "why_no_map", lambda encoder: f"{encoder.name} has none")
    assert Localisation().why_not(Contestant("own", image={"backbone": "test_resnet"})) == "test_resnet has none"


def test_labels_are_those_that_are_marked_in_the_splits(stores, phantoms):
    assert Localisation().labels_of(stores["both"]) == list(LABELS)
    assert "left_lung" not in Localisation().labels_of(phantoms)
    assert Localisation(labels=["Edema"]).labels_of(phantoms) == ["Edema"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"by": []}, "by is [], not one or both of prompts, grad_cam"),
        ({"by": ["prompts", "prompts"]}, "not one or both of prompts, grad_cam"),
        ({"by": ["gradcam"]}, "by 'gradcam' is not one of prompts, grad_cam, did you mean grad_cam?"),
        ({"overlaps": [0.0]}, "overlaps are [0.0], not numbers above 0 and at most 1"),
        ({"score": "both"}, "score 'both' is not one of global, local"),
        ({"score": "local"}, "igcl has no score 'local': it has no local branch"),
        ({"interpolation": "cubic"}, "interpolation 'cubic' is not one of nearest, bilinear"),
        ({"baseline_seeds": 0}, "baseline_seeds is 0, not at least 1"),
        ({"statements": 0}, "statements is 0, not at least 1"),
        ({"labels": ["left_lung"]}, "no label 'left_lung'"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(phantoms, contestants, options, expected):
    with pytest.raises(IgclError) as caught:
        Localisation(**options).check(phantoms, [contestants["igcl"]])
    assert expected in str(caught.value)


def test_a_store_without_boxes_and_masks_is_refused(tmp_path, stores, contestants):
    studies = [partial(drawn, index, "boxes") for index in PLACES]
    prepare_studies(studies, tmp_path / "unmarked", labels=LABELS, options=Options(size=4 * CELL, lossless=True))
    with pytest.raises(
        IgclError, match="no row of test has a box or a mask of a label, so that nothing can be localis"
    ):
        Localisation().check(Store(tmp_path / "unmarked"), [contestants["igcl"]])
    with pytest.raises(IgclError, match="no row of test has a box or a mask of Pneumothorax$"):
        Localisation(labels=["Edema", "Pneumothorax"]).check(stores["boxes"], [contestants["igcl"]])
    with pytest.raises(IgclError, match="has no split 'train', which Grad-CAM's probe is fitted on"):
        Localisation(labels=["Edema"]).check(stores["boxes"], [contestants["igcl"]])
    Localisation(by=["prompts"], labels=["Edema"]).check(stores["boxes"], [contestants["igcl"]])


def test_measured_parts_depend_on_the_prompts(contestants, tmp_path):
    path = tmp_path / "own.tsv"
    path.write_text("Edema\t[edema]\n")
    own, shipped = Localisation(prompts=str(path)), Localisation()
    assert own.settings(contestants["igcl"], {})["prompts"] != shipped.settings(contestants["igcl"], {})["prompts"]
