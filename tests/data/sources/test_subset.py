"""CheXpert-5x200 and MIMIC-5x200, and their patients, whom pretraining refuses."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.sources import subset
from igcl_lightning.data.sources.chexpert import read_chexpert
from igcl_lightning.data.sources.held_out import refuse_held_out
from igcl_lightning.data.sources.mimic_cxr import read_mimic_cxr
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import CLASS, Study, StudyImage
from igcl_lightning.errors import IgclError
from source_trees import CHEXPERT_LABELS, chexpert_tree, mimic_classes_tree
from stores import prepare_studies

EACH = 3


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(subset, "EACH", EACH)


@pytest.fixture
def mimic(tmp_path):
    return mimic_classes_tree(tmp_path / "mimic-cxr-jpg")


def chosen(source):
    return {image.image_id: study for study in source.items() for image in study.images}


def test_images_are_frontal_and_positive_for_one_of_the_five_alone(mimic):
    source = read_mimic_cxr(mimic, subset="5x200")
    studies = chosen(source)
    assert Counter(study.extra["class"] for study in studies.values()) == dict.fromkeys(subset.CLASSES, EACH)
    numbers = {int(image, 16) for image in studies}
    assert all(number % 3 == 0 and number < 60 for number in numbers)
    assert all(study.extra["class"] == subset.CLASSES[int(image, 16) // 3 % 5] for image, study in studies.items())
    assert {study.split for study in studies.values()} == {"test"}
    assert (source.total, source.settings["subset"], source.settings["subset_seed"]) == (15, "5x200", 0)


def test_findings_of_a_row_of_a_class_are_known_whatever_the_policy(mimic, tmp_path):
    (tmp_path / "ids.txt").write_text(f"{1:08x}\n{3:08x}\n")
    studies = chosen(read_mimic_cxr(mimic, subset=str(tmp_path / "ids.txt"), uncertain="positive"))
    of_class, other = studies[f"{3:08x}"].labels, studies[f"{1:08x}"].labels
    assert [name for name in subset.FINDINGS if of_class[name] != 0] == ["Cardiomegaly"]
    assert (of_class["Cardiomegaly"], of_class["No Finding"]) == (1, 1)
    assert other["Edema"] is None


def test_the_draw_depends_on_the_seed_only(mimic):
    first = list(chosen(read_mimic_cxr(mimic, subset="5x200", seed=1)))
    assert list(chosen(read_mimic_cxr(mimic, subset="5x200", seed=1, uncertain="positive", blank="negative"))) == first
    assert list(chosen(read_mimic_cxr(mimic, subset="5x200", seed=2))) != first
    table = mimic / "mimic-cxr-2.0.0-split.csv"
    pd.read_csv(table, dtype=str).iloc[::-1].to_csv(table, index=False)
    assert list(chosen(read_mimic_cxr(mimic, subset="5x200", seed=1))) == first


def test_too_few_images_and_no_labels_are_errors(mimic, monkeypatch):
    with pytest.raises(IgclError, match="--subset: the labels have no .*; choose others with --labels"):
        read_mimic_cxr(mimic, labels="none", subset="5x200")
    monkeypatch.setattr(subset, "EACH", 5)
    with pytest.raises(IgclError, match="5x200: only 4 frontal images are of Atelectasis alone, not 5"):
        read_mimic_cxr(mimic, subset="5x200")


def test_a_list_of_ids_is_taken_as_it_is(mimic, tmp_path):
    ids = pd.DataFrame({"study_id": [50000003, 50000001], "dicom_id": [f"{3:08x}", f"{1:08x}"]})
    ids.to_csv(tmp_path / "ids.csv", index=False)
    (tmp_path / "ids.txt").write_text(f"files/p10/{3:08x}.jpg\n\n{1:08x}\n{1:08x}\n")
    for name in ("ids.csv", "ids.txt"):
        source = read_mimic_cxr(mimic, subset=str(tmp_path / name))
        found = {image: study.extra["class"] for image, study in chosen(source).items()}
        assert found == {f"{1:08x}": None, f"{3:08x}": "Cardiomegaly"}
        assert source.counts["listed images of none of the five classes"] == 1
        assert tmp_path / name in source.inputs
    (tmp_path / "ids.txt").write_text("zz\n")
    with pytest.raises(IgclError, match="--subset .*ids.txt: 1 of 1 images, such as 'zz', are not in the data set"):
        read_mimic_cxr(mimic, subset=str(tmp_path / "ids.txt"))
    (tmp_path / "ids.txt").write_text("")
    with pytest.raises(IgclError, match="ids.txt: names no image"):
        read_mimic_cxr(mimic, subset=str(tmp_path / "ids.txt"))
    with pytest.raises(IgclError, match="--subset 5x100: no such file or directory; give 5x200 or a file of image ids"):
        read_mimic_cxr(mimic, subset="5x100")


def test_images_of_chexpert_are_named_by_their_path(tmp_path):
    root = chexpert_tree(tmp_path / "CheXpert-v1.0-small")
    (tmp_path / "ids.csv").write_text("Path\nCheXpert-v1.0/train/patient00002/study1/view1_frontal.jpg\n")
    source = read_chexpert(root, subset=str(tmp_path / "ids.csv"))
    ((image, study),) = chosen(source).items()
    assert (image, study.split) == ("train/patient00002/study1/view1_frontal.jpg", "test")
    assert study.extra == {"class": "Pleural Effusion"}
    with pytest.raises(IgclError, match="5x200: only 0 frontal images are of Atelectasis alone"):
        read_chexpert(root, subset="5x200")


def test_pretraining_refuses_the_patients_of_a_subset(mimic, tmp_path, capsys):
    command = ["prepare", "mimic-cxr", "--root", str(mimic), "--size", "16", "--out"]
    whole, held = tmp_path / "whole", tmp_path / "held"
    assert main([*command, str(held), "--subset", "5x200"]) is None
    assert main([*command, str(whole)]) is None
    data = PairedDataModule(str(whole), held_out=[str(held)])
    with pytest.raises(
        IgclError, match=r"patients of train, such as '1000\d+', are held out in .*held; prepare it with"
    ):
        data.setup("fit")
    data.setup("test")
    assert main([*command, str(whole), "--update", "--held-out", str(held)]) is None
    assert "  noticed: 15 studies of patients held out\n" in capsys.readouterr().out
    PairedDataModule(str(whole), held_out=[str(held)]).setup("fit")
    patients = {patient for split in Store(whole).splits for patient in Store(whole).column(split, "patient")}
    assert len(patients) == 60
    assert patients.isdisjoint(Store(held).column("test", "patient"))


def test_rows_of_views_that_are_not_trained_on_count_too(mimic, tmp_path):
    command = ["prepare", "mimic-cxr", "--root", str(mimic), "--size", "16", "--out"]
    (tmp_path / "ids.txt").write_text(f"{74:08x}\n")
    assert main([*command, str(tmp_path / "held"), "--subset", str(tmp_path / "ids.txt")]) is None
    assert main([*command, str(tmp_path / "whole")]) is None
    with pytest.raises(IgclError, match="1 patients of train, such as '10000074'"):
        refuse_held_out(Store(tmp_path / "whole"), [str(tmp_path / "held")])


def test_a_store_has_classes_if_they_are_its_labels(tmp_path):
    def study(number, name):
        blank = StudyImage(f"i{number}", np.zeros((16, 16), np.uint8))
        return Study(f"s{number}", f"p{number}", (blank,), labels={"Edema": 1.0}, split="test", extra={CLASS: name})

    words = {"of": ["Edema", None], "other": ["Edema", "Normal"]}
    for name, (one, two) in words.items():
        prepare_studies([study(0, one), study(1, two)], tmp_path / name, labels=["Edema"], extra=[CLASS])
    assert Store(tmp_path / "of").classes("test") == {"i0": "Edema"}
    assert Store(tmp_path / "other").classes("test") == {}


def test_classes_of_blank_and_uncertain_labels():
    frame = pd.DataFrame(0.0, index=range(4), columns=[*CHEXPERT_LABELS])
    frame.loc[:, "Edema"] = 1.0
    frame.loc[1, "Fracture"] = np.nan  # uncertain
    frame.loc[2, "No Finding"] = 1.0
    assert subset._classes(frame, ["PA", "PA", "frontal", "lateral"]) == ["Edema", None, "Edema", None]
