import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.sources.chexpert import read_chexpert
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from source_trees import CHEXPERT_LABELS, CHEXPERT_TEST, chexpert_test_tree, chexpert_tree


@pytest.fixture
def root(tmp_path):
    return chexpert_tree(tmp_path / "CheXpert-v1.0-small")


@pytest.fixture
def test_root(tmp_path):
    return chexpert_test_tree(tmp_path / "CheXpert")


def studies(root, **options):
    return {study.study_id: study for study in read_chexpert(root, **options).items()}


def edit(path, change):
    """Change a table of the tree."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(frame).to_csv(path, index=False)


def positives(study):
    return {name for name, value in study.labels.items() if value == 1}


def test_images_are_grouped_by_study(root):
    source = read_chexpert(root)
    found = list(source.items())
    assert source.total == len(found) == 6
    assert [study.study_id for study in found[:3]] == [
        "patient00001/study1",
        "patient00002/study1",
        "patient00002/study2",
    ]
    two = found[1]
    assert (two.patient_id, two.age, two.sex) == ("patient00002", 87.0, "M")
    names = ["train/patient00002/study1/view1_frontal.jpg", "train/patient00002/study1/view2_lateral.jpg"]
    assert [image.image_id for image in two.images] == names
    assert [image.source for image in two.images] == [root / name for name in names]
    assert all(image.source.is_file() for study in found for image in study.images)


def test_each_table_is_a_split(root, test_root, tmp_path):
    splits = {study.patient_id: study.split for study in read_chexpert(tmp_path).items()}
    assert splits == {
        **dict.fromkeys(("patient00001", "patient00002", "patient00003"), "train"),
        **dict.fromkeys(("patient90001", "patient90002"), "valid"),
        **dict.fromkeys(("patient91011", "patient91012", "patient91013"), "test"),
    }
    assert {path.name for path in read_chexpert(tmp_path).inputs} == {"train.csv", "valid.csv", "groundtruth.csv"}


@pytest.mark.parametrize("name", ["CheXpert-v1.0", "CheXpert-v1.0-small"])
@pytest.mark.parametrize("folder", ["CheXpert-v1.0-small", "CheXpert-v1.0", "unpacked"])
def test_paths_may_begin_with_any_folder(tmp_path, name, folder):
    chexpert_tree(tmp_path / "data" / folder, name)
    for root in (tmp_path / "data", tmp_path / "data" / folder):
        images = [image for study in read_chexpert(root).items() for image in study.images]
        assert len(images) == 7
        assert all(image.source.is_file() for image in images)
        assert images[0].image_id == "train/patient00001/study1/view1_frontal.jpg"


def test_views_and_those_in_doubt(root):
    views = {
        image.image_id[6:]: (image.view, image.source_view, image.flags)
        for study in read_chexpert(root).items()
        for image in study.images
        if study.split == "train"
    }
    assert views == {
        "patient00001/study1/view1_frontal.jpg": ("AP", "Frontal AP", ()),
        "patient00002/study1/view1_frontal.jpg": ("PA", "Frontal PA", ()),
        "patient00002/study1/view2_lateral.jpg": ("lateral", "Lateral", ()),
        "patient00002/study2/view1_frontal.jpg": ("AP", "Frontal AP", ()),
        "patient00003/study1/view1_frontal.jpg": ("unknown", "Frontal LL", ("view in doubt",)),
    }


def test_age_zero_and_unknown_sex_are_not_known(root):
    source = read_chexpert(root)
    study = {study.study_id: study for study in source.items()}["patient00003/study1"]
    assert (study.age, study.sex) == (None, None)
    assert source.counts["rows of age 0, taken as not known"] == 1
    assert source.counts["implausible ages"] == 0


def test_ages_of_nobody_are_not_known_and_counted(root):
    edit(root / "train.csv", lambda frame: frame.assign(Age=["150", "-5", "87", "87", "0"]))
    source = read_chexpert(root)
    ages = {study.study_id: study.age for study in source.items()}
    assert (ages["patient00001/study1"], ages["patient00002/study2"], ages["patient00002/study1"]) == (None, None, 87)
    assert source.counts["implausible ages"] == 2


def test_without_the_column_of_sides_the_names_tell(root):
    edit(
        root / "train.csv",
        lambda frame: frame.drop(columns="Frontal/Lateral").replace("view1_frontal", "x", regex=True),
    )
    source = read_chexpert(root)
    views = {image.image_id: image.view for study in source.items() for image in study.images}
    assert views["train/patient00002/study1/view2_lateral.jpg"] == "lateral"
    assert source.counts["images of which neither row nor name says the side"] == 4


def test_blank_and_uncertain_labels_are_not_known_by_default(root):
    found = studies(root)
    assert found["patient00002/study2"].labels == dict.fromkeys(CHEXPERT_LABELS)
    assert found["patient00002/study1"].labels["Fracture"] == 0.0
    assert positives(found["patient00001/study1"]) == {"No Finding", "Support Devices"}
    assert set(found["patient90001/study1"].labels.values()) == {0.0}


@pytest.mark.parametrize(
    ("uncertain", "edema", "cardiomegaly", "atelectasis"),
    [
        ("ignore", None, None, None),
        ("positive", 1.0, 1.0, 1.0),
        ("negative", 0.0, 0.0, 0.0),
        ("per-label", 1.0, 0.0, 1.0),
        ("Edema=negative,Atelectasis=positive", 0.0, None, 1.0),
    ],
)
def test_uncertain_labels_follow_the_policy(root, uncertain, edema, cardiomegaly, atelectasis):
    found = studies(root, uncertain=uncertain)
    assert found["patient00002/study2"].labels["Edema"] == edema
    assert found["patient00002/study2"].labels["Cardiomegaly"] == cardiomegaly
    assert found["patient00003/study1"].labels["Atelectasis"] == atelectasis


def test_the_policy_is_in_the_settings(root):
    settings = read_chexpert(root, uncertain="positive", blank="negative").settings
    assert (settings["uncertain"], settings["blank"]) == ("positive", "negative")


def test_the_test_set_is_joined_by_study_and_label_name(test_root):
    found = studies(test_root)
    assert {name: positives(study) for name, study in found.items()} == {
        study: set(labels) for study, labels in CHEXPERT_TEST.items()
    }
    names = ["test/patient91012/study1/view1_frontal.jpg", "test/patient91012/study1/view2_lateral.jpg"]
    assert [image.image_id for image in found["patient91012/study1"].images] == names
    assert [image.view for image in found["patient91012/study1"].images] == ["frontal", "lateral"]


def test_neither_the_order_of_columns_nor_that_of_rows_counts(test_root):
    before = {
        name: (study.labels, [image.source for image in study.images]) for name, study in studies(test_root).items()
    }
    table = test_root / "groundtruth.csv"
    swapped = [*CHEXPERT_LABELS[:3], "Lung Lesion", "Lung Opacity", *CHEXPERT_LABELS[5:]]
    edit(table, lambda frame: frame[["Study", *swapped]].iloc[::-1])
    assert table.read_text().splitlines()[0].index("Lung Lesion") < table.read_text().splitlines()[0].index("Opacity")
    after = {
        name: (study.labels, [image.source for image in study.images]) for name, study in studies(test_root).items()
    }
    assert after == before


def test_chexlocalize_names_the_images_and_calls_the_folder_val(tmp_path):
    root = chexpert_test_tree(tmp_path / "CheXpert", table="test_labels.csv")
    chexpert_tree(root)
    (root / "valid").rename(root / "val")
    (root / "valid.csv").rename(root / "val_labels.csv")
    (root / "train.csv").unlink()
    edit(root / "val_labels.csv", lambda frame: frame.drop(columns=["Sex", "Age", "Frontal/Lateral", "AP/PA"]))
    found = list(read_chexpert(root).items())
    assert [study.split for study in found] == ["valid"] * 2 + ["test"] * 3
    assert all(image.source.is_file() for study in found for image in study.images)
    assert positives(found[-2]) == {"Lung Lesion"}


def test_tables_may_lie_two_folders_deep_and_missing_ones_are_counted(root, tmp_path):
    chexpert_test_tree(tmp_path / "CheXlocalize" / "CheXpert", table="test_labels.csv")
    source = read_chexpert(tmp_path)
    assert {path.name for path in source.inputs} == {"train.csv", "valid.csv", "test_labels.csv"}
    assert not any("not found" in reason for reason in source.counts)
    assert all(image.source.is_file() for study in source.items() for image in study.images)
    shutil.rmtree(tmp_path / "CheXlocalize")
    (root / "valid.csv").unlink()
    counts = read_chexpert(tmp_path).counts
    assert (counts["table of the valid split not found"], counts["table of the test split not found"]) == (1, 1)
    assert "table of the train split not found" not in counts


def test_hidden_files_in_the_folder_of_a_study_are_no_images(test_root):
    (test_root / "test/patient91011/study1/._view1_frontal.jpg").touch()
    assert len(studies(test_root)["patient91011/study1"].images) == 1


def test_a_test_study_without_folder_is_counted(test_root):
    shutil.rmtree(test_root / "test/patient91013")
    source = read_chexpert(test_root)
    assert source.counts["studies without images"] == 1
    assert len(list(source.items())) == 2


def test_unpacked_batches_of_training_images(tmp_path):
    root = chexpert_tree(tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)", "CheXpert-v1.0")
    for batch, patients in (("2 (train 1)", ["patient00001"]), ("3 (train 2)", ["patient00002", "patient00003"])):
        (tmp_path / f"CheXpert-v1.0 batch {batch}").mkdir()
        (tmp_path / f"CheXpert-v1.0 batch {batch}.zip").touch()
        for patient in patients:
            (root / "train" / patient).rename(tmp_path / f"CheXpert-v1.0 batch {batch}" / patient)
    (root / "train").rmdir()
    images = [image for study in read_chexpert(tmp_path).items() for image in study.images]
    assert len(images) == 7
    assert all(image.source.is_file() for image in images)


def test_images_may_lie_elsewhere(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for split in ("train", "valid"):
        (root / split).rename(tmp_path / "elsewhere" / split)
    images = [image for study in read_chexpert(root, images=tmp_path / "elsewhere").items() for image in study.images]
    assert all(image.source.is_file() for image in images)
    with pytest.raises(IgclError, match=r"no folder train of images for train.csv; name its parent with --images"):
        read_chexpert(root)


def test_without_a_table_of_validation_images_some_patients_are_lent(root):
    (root / "valid.csv").unlink()
    many = pd.DataFrame(
        {"Path": [f"CheXpert-v1.0/train/patient{n:05}/study1/view1_frontal.jpg" for n in range(10, 310)]}
    )
    edit(root / "train.csv", lambda frame: pd.concat([frame, many]))
    found = list(read_chexpert(root).items())
    assert 15 < sum(study.split == "valid" for study in found) < 50
    assert [study.split for study in found] == [study.split for study in read_chexpert(root).items()]
    assert [study.split for study in found] != [study.split for study in read_chexpert(root, seed=1).items()]


def test_images_of_one_study_with_other_labels_are_counted(root):
    def contradict(frame):
        frame.loc[3, "Fracture"] = "1.0"
        return frame

    edit(root / "train.csv", contradict)
    source = read_chexpert(root)
    assert source.counts["images with other labels than their study's first"] == 1
    assert studies(root)["patient00002/study1"].labels["Fracture"] == 0.0


def test_a_source_travels_and_repeats(root):
    source = read_chexpert(root)
    names = [study.study_id for study in source.items()]
    assert [study.study_id for study in pickle.loads(pickle.dumps(source)).items()] == names
    assert [study.study_id for study in source.items()] == names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="Edema"), "train.csv: no column 'Edema'"),
        (lambda f: f.replace("-1.0", "3"), "train.csv row 3, column 'Cardiomegaly': '3' is not 1, 0, -1 or blank"),
        (lambda f: f.assign(Age="old"), "train.csv row 2, column 'Age': 'old' is not an age such as 58 or 058Y"),
        (
            lambda f: f.assign(Path=["x.jpg", *f["Path"][1:]]),
            "row 2: column 'Path' is not a path such as train/patient00001/",
        ),
        (lambda f: f.assign(Path=["", *f["Path"][1:]]), "train.csv row 2: column 'Path' is empty"),
        (lambda f: f.drop(columns="Path"), "train.csv: no column 'Path' or 'Study'; it has 'Sex'"),
        (lambda f: f.rename(columns={"Lung Lesion": " Edema"}), "train.csv: no column 'Lung Lesion'"),
        (lambda f: f.assign(**{"Edema ": f["Edema"]}), "train.csv: 2 columns are named 'Edema'"),
        (lambda f: pd.concat([f, f.head(1)]), "train.csv row 7: column 'Path': .* is in row 2 already"),
        (
            lambda f: f.replace("patient00001", "patient90001", regex=True),
            "valid.csv: patient 'patient90001' is in",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(root, change, message):
    edit(root / "train.csv", change)
    with pytest.raises(IgclError, match=message) as caught:
        read_chexpert(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("Edema,", "Edema,Swelling,", 1), "train.csv row 2: 19 cells, the header has 20"),
        (lambda text: text.rsplit(",", 18)[0], "train.csv row 6: 1 cells, the header has 19; is the file cut off"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused(root, change, message):
    table = root / "train.csv"
    table.write_text(change(table.read_text()))
    with pytest.raises(IgclError, match=message):
        read_chexpert(root)


def test_a_folder_without_tables_is_named(tmp_path):
    with pytest.raises(IgclError, match="gone: no such folder"):
        read_chexpert(tmp_path / "gone")
    with pytest.raises(
        IgclError, match=r"no table of CheXpert; looked for train.csv, valid.csv, .* one or two folders deeper"
    ):
        read_chexpert(tmp_path)


def test_the_command_line_makes_a_store(root, test_root, tmp_path):
    (root / "train/patient00002/study1/view2_lateral.jpg").unlink()
    command = ["prepare", "chexpert", "--root", str(tmp_path), "--out", str(tmp_path / "store"), "--size", "16"]
    assert not main([*command, "--jobs", "1", "--uncertain", "per-label", "--blank", "negative"])
    store = Store(tmp_path / "store")
    assert store.manifest["rows"] == {"train": 4, "valid": 2, "test": 4}
    assert sum(store.manifest["dropped"].values()) == 1
    assert store.manifest["dropped_rows"][0]["row"] == "train/patient00002/study1/view2_lateral.jpg"
    assert store.manifest["flags"] == {"view in doubt": 1}
    rows = {row["row"]: row for row in store.table("train")}
    uncertain = rows["train/patient00002/study2/view1_frontal.jpg"]
    assert (uncertain["labels"]["Edema"], uncertain["labels"]["Cardiomegaly"]) == (1.0, 0.0)
    assert (uncertain["age"], uncertain["sex"], uncertain["view"]) == (87.0, "M", "AP")
    assert not any(value is None for row in rows.values() for value in row["labels"].values())


@pytest.mark.data
def test_published_test_labels_in_two_orders_of_columns(data_folder, tmp_path):
    truth = pd.read_csv(data_folder / "chexpert_test/groundtruth.csv")
    reader = data_folder / "chexpert_test/radiologists/benchmark_radiologists/bc4.csv"
    for study in truth["Study"]:
        folder = tmp_path / study.partition("/")[2]
        folder.mkdir(parents=True)
        (folder / "view1_frontal.jpg").touch()
    for path in (data_folder / "chexpert_test/groundtruth.csv", reader):
        shutil.copy(path, tmp_path / "groundtruth.csv")
        found = studies(tmp_path)
        expected = pd.read_csv(path).set_index("Study")
        assert len(found) == len(expected) == 500
        for name, study in found.items():
            assert study.labels == {
                label: float(expected.loc[f"CheXpert-v1.0/test/{name}", label]) for label in CHEXPERT_LABELS
            }
        counted = {label: sum(study.labels[label] == 1 for study in found.values()) for label in CHEXPERT_LABELS}
        assert counted == {label: int(np.sum(expected[label])) for label in CHEXPERT_LABELS}


@pytest.mark.data
def test_the_sample_of_chexlocalize(data_folder, tmp_path):
    (tmp_path / "valid.csv").symlink_to(data_folder / "format_fixtures/chexlocalize_sample/valid.csv")
    (tmp_path / "valid").mkdir()
    first, second = read_chexpert(tmp_path).items()
    assert (first.split, first.age, first.sex, first.images[0].view) == ("valid", 73.0, "M", "AP")
    assert second.images[0].view == "PA"
