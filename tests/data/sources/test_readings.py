"""Answers of readers and scores of models: joined by study and name of column, whatever the files look like."""

import numpy as np
import pandas as pd
import pytest

from igcl_lightning.data.sources.readings import mean_labels, read_readings, study_id
from igcl_lightning.errors import IgclError
from reader_trees import FIVE, MODEL, OTHERS, READER, TRUTH, shuffled, write_tree


@pytest.fixture
def root(tmp_path):
    """A tree as write_tree makes it."""
    write_tree(tmp_path)
    return tmp_path


def edit(path, change):
    """Change a table of the tree."""
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def same(first, second):
    assert (first.studies, first.patients, first.labels) == (second.studies, second.patients, second.labels)
    for name in ("readers", "models"):
        (one, other) = (getattr(each, name) for each in (first, second))
        assert list(one) == list(other)
        for each in one:
            np.testing.assert_array_equal(one[each], other[each])
    np.testing.assert_array_equal(first.truth, second.truth)


def test_every_cell_is_that_of_its_study_and_label(tmp_path):
    tables = write_tree(tmp_path)
    found = read_readings(tmp_path)
    assert found.labels == [*FIVE, "No Finding", "Lung Opacity", "Lung Lesion"]
    assert list(found.readers) == ["r1", "r2"]
    assert list(found.models) == ["m1_predictions"]
    assert found.notes == []
    assert found.patients == [study.partition("/")[0] for study in found.studies]
    given = {TRUTH: found.truth, READER: found.readers["r1"], MODEL: found.models["m1_predictions"]}
    for name, array in given.items():
        table = tables[name].set_index("Study")
        for place, label in enumerate(found.labels):
            for row, study in enumerate(found.studies):
                expected = table[label][f"CheXpert-v1.0/test/{study}"] if label in table else np.nan
                np.testing.assert_equal(array[row, place], expected)


@pytest.mark.parametrize("name", [TRUTH, READER, MODEL])
def test_the_order_and_the_form_of_a_file_change_nothing(root, name):
    first, path = read_readings(root), root / name
    edit(path, lambda frame: shuffled(frame, 9))
    same(read_readings(root), first)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    same(read_readings(root), first)
    edit(path, lambda frame: frame.assign(Study=frame["Study"] + "/", Age="58", **{"Frontal/Lateral": "Frontal"}))
    same(read_readings(root), first)
    edit(path, lambda frame: frame.assign(Study=frame["Study"] + "view1_frontal.jpg").rename(columns={"Study": "Path"}))
    same(read_readings(root), first)
    edit(path, lambda frame: frame.rename(columns={"Pleural Effusion": "pleural_effusion"}))
    same(read_readings(root), first)
    edit(path, lambda frame: frame.assign(Path=frame["Path"].str.removeprefix("CheXpert-v1.0/"), Study=frame["Path"]))
    same(read_readings(root), first)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CheXpert-v1.0/test/patient64741/study1", "patient64741/study1"),
        ("CheXpert-v1.0-small/valid/patient64741/study12/view1_frontal.jpg", "patient64741/study12"),
        (" /test\\patient64741\\study1/ ", "patient64741/study1"),
        ("p7/s3/", "p7/s3"),
        ("p7/s3/image.PNG", "p7/s3"),
        ("image.png", "image.png"),
        ("phantom-000001", "phantom-000001"),
    ],
)
def test_ids_of_studies(text, expected):
    assert study_id(text) == expected


def test_patients_are_folders_of_studies_or_the_studies_themselves(tmp_path):
    for number, (ids, patients) in enumerate(
        [(["a/1", "a/2", "b/1"], ["a", "a", "b"]), (["x", "y", "z"], None), (["all/x", "all/y", "all/z"], None)]
    ):
        write_tree(tmp_path / str(number), ids=ids)
        assert read_readings(tmp_path / str(number)).patients == (patients or ids)


def test_files_may_lie_elsewhere_below_the_folders(root):
    first = read_readings(root)
    (root / READER).rename(root / "radiologists" / "r1.csv")
    (root / "predictions" / "high").mkdir(parents=True)
    (root / MODEL).rename(root / "predictions" / "high" / "m1_predictions.csv")
    (root / "radiologists" / "._r1.csv").write_bytes(b"\0\1")
    same(read_readings(root), first)


def test_files_of_one_name_are_called_by_their_paths(root):
    other = root / "example_models" / "predictions" / "custom" / "m1_predictions.csv"
    other.parent.mkdir()
    other.write_bytes((root / MODEL).read_bytes())
    names = [f"example_models/predictions/{folder}/m1_predictions" for folder in ("custom", "standard")]
    assert list(read_readings(root).models) == names


def test_files_that_differ_by_suffix_only_are_all_kept(root):
    frame = pd.read_csv(root / READER, dtype=str, keep_default_na=False)
    frame.to_csv((root / READER).with_suffix(".tsv"), sep="\t", index=False)
    place = (root / READER).relative_to(root)
    assert list(read_readings(root).readers) == [str(place), str(place.with_suffix(".tsv")), "r2"]


def test_a_label_may_not_have_the_name_of_the_mean(root):
    edit(root / TRUTH, lambda frame: frame.assign(mean="1"))
    with pytest.raises(IgclError, match="groundtruth.csv: no label can be called 'mean'"):
        read_readings(root)


def test_what_a_file_lacks_is_said_with_its_number(root):
    edit(root / READER, lambda frame: frame.drop(columns=["Edema", "Lung Lesion"]).iloc[3:])
    edit(root / READER, lambda frame: pd.concat([frame, frame.iloc[:1].assign(Study="test/patient1/study1")]))
    edit(root / MODEL, lambda frame: frame.drop(columns="Edema").assign(Atelectasis=["", *frame["Atelectasis"][1:]]))
    edit(root / TRUTH, lambda frame: frame.assign(Edema=["", "", *frame["Edema"][2:]]))
    found = read_readings(root)
    assert sorted(found.notes) == [
        "groundtruth.csv: blank cells left out: 2",
        "m1_predictions: blank cells left out: 1",
        "m1_predictions: has no Edema",
        "r1: has no Edema, Lung Lesion",
        "r1: studies that are missing: 3 of 40; compared on the other 37",
        "r1: studies without a ground truth left out: 1",
    ]
    known = ~np.isnan(found.readers["r1"])
    assert known.any(axis=1).sum() == 37
    assert not known[:, found.labels.index("Edema")].any()
    assert np.isnan(found.truth).sum() == 2


@pytest.mark.parametrize("cell", ["2", "-1", "0.5", "yes", "inf"])
def test_an_answer_that_is_not_0_or_1_is_refused_with_file_and_row(root, cell):
    for name in (TRUTH, READER):
        before = (root / name).read_bytes()
        edit(root / name, lambda frame: frame.assign(Edema=[*frame["Edema"][:4], cell, *frame["Edema"][5:]]))
        with pytest.raises(IgclError, match=rf"{name} row 6, column 'Edema': '{cell}' is not 0 or 1"):
            read_readings(root)
        (root / name).write_bytes(before)


def test_a_score_that_is_no_number_is_refused_and_any_scale_is_not(root):
    edit(root / MODEL, lambda frame: frame.assign(Edema=[*frame["Edema"][:4], "high", *frame["Edema"][5:]]))
    with pytest.raises(IgclError, match=r"m1_predictions.csv row 6, column 'Edema': 'high' is not a number"):
        read_readings(root)
    edit(root / MODEL, lambda frame: frame.assign(Edema=[*frame["Edema"][:4], "-17.5", *frame["Edema"][5:]]))
    assert -17.5 in read_readings(root).models["m1_predictions"]


@pytest.mark.parametrize("name", [TRUTH, READER, MODEL])
def test_a_study_that_stands_twice_is_refused(root, name):
    edit(root / name, lambda frame: pd.concat([frame, frame.iloc[2:3].assign(Study=frame["Study"][2] + "/")]))
    with pytest.raises(IgclError, match=rf"{name} row 42: column 'Study': 'patient\d+/study\d' is in row 4 already"):
        read_readings(root)


def test_files_that_are_no_answers_are_named_and_left_out(root, capsys):
    first = read_readings(root)
    (root / "radiologists" / "notes.csv").write_text("reader,years\nr1,12\n")
    (root / "example_models" / "auc.csv").write_text("Study,Hernia\ntest/patient90000/study1,0.5\n")
    (root / "about.csv").write_text("a,b\n1,2\n")
    same(read_readings(root), first)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "about.csv is left out: neither below radiologists/ nor below example_models/" in said[0]
    assert "auc.csv: no column is a label of the ground truth, only 'Hernia'; it is left out" in said[1]
    assert "notes.csv: no column 'Study' or 'Path'; it has 'reader', 'years'; it is left out" in said[2]


def test_folders_that_cannot_be_used_are_refused(root, tmp_path):
    with pytest.raises(IgclError, match="--radiologists .*/missing: no such folder"):
        read_readings(tmp_path / "missing")
    edit(root / READER, lambda frame: frame.assign(Study="test/patient1/study" + frame.index.astype(str)))
    with pytest.raises(
        IgclError, match=r"r1.csv: none of its studies, such as 'patient1/study\d+', has a ground truth"
    ):
        read_readings(root)
    edit(root / READER, lambda frame: frame.rename(columns={"Edema": "edema"}).assign(EDEMA="1"))
    with pytest.raises(IgclError, match=r"r1.csv: two columns are 'Edema'; keep one of them"):
        read_readings(root)
    (root / TRUTH).write_text("Study,Edema\n")
    with pytest.raises(IgclError, match="groundtruth.csv: no rows"):
        read_readings(root)
    (root / TRUTH).write_text("Study,Comment\na,b\n")
    with pytest.raises(IgclError, match="groundtruth.csv: no column of labels"):
        read_readings(root)
    (root / TRUTH).write_text("Name,Edema\na,1\n")
    with pytest.raises(IgclError, match="groundtruth.csv: no column 'Study' or 'Path'"):
        read_readings(root)
    (root / TRUTH).unlink()
    with pytest.raises(IgclError, match="no groundtruth.csv there or one or two folders deeper"):
        read_readings(root)
    write_tree(tmp_path / "alone", readers=(), models=())
    with pytest.raises(IgclError, match="no answers below radiologists/ and no scores below example_models/"):
        read_readings(tmp_path / "alone")


def test_the_mean_is_over_the_labels_of_the_competition():
    assert mean_labels([*FIVE, *OTHERS]) == FIVE
    assert mean_labels(["Edema", "No Finding"]) == ["Edema"]
    assert mean_labels(["Hernia", "Mass"]) == ["Hernia", "Mass"]
