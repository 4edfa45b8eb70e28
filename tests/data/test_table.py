import pytest

from igcl_lightning.data.sources.table import TableColumns, read_table, view_name
from igcl_lightning.errors import IgclError

CSV = """\
file, person ,note,Edema,Mass,fold,projection,years
a.png, 7 ,"Small effusion, left",1,,train,PA,61
b.png,7,,0.0,-1,train,AP Supine,
c.png,8,nan,,1.0,test,LL,40
"""
FIELDS = {
    "image": "file",
    "patient": "person ",
    "report": "note",
    "labels": ["Edema", "Mass"],
    "split": "fold",
    "view": "projection",
    "age": "years",
}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    return path


def read(path, **options):
    wanted = options.pop("columns", TableColumns(**FIELDS))
    return list(read_table(path, wanted, **options))


def test_rows_become_studies(table, tmp_path):
    first, second, third = read(table)
    assert [study.patient_id for study in (first, second, third)] == ["7", "7", "8"]
    assert first.images[0].source == tmp_path / "a.png"
    assert first.report == {"report": "Small effusion, left"}
    assert second.report == third.report == {}
    assert first.labels == {"Edema": 1.0, "Mass": None}
    assert second.labels == {"Edema": 0.0, "Mass": None}
    assert [study.images[0].view for study in (first, second, third)] == ["PA", "AP", "lateral"]
    assert (first.age, second.age) == (61.0, None)


@pytest.mark.parametrize(("policy", "value"), [("ignore", None), ("positive", 1.0), ("negative", 0.0)])
def test_uncertain_labels_follow_the_policy(table, policy, value):
    assert read(table, uncertain=policy)[1].labels["Mass"] == value


def test_splits_are_read_and_renamed(table):
    assert [study.split for study in read(table, split_values={"test": "valid"})] == ["train", "train", "valid"]


def test_a_table_without_validation_rows_lends_some_training_patients(tmp_path):
    path = tmp_path / "table.csv"
    lines = [f"{number}.png,p{number // 2},{'test' if number >= 380 else 'train'}" for number in range(400)]
    path.write_text("\n".join(["file,person,fold", *lines]))
    studies = read(path, columns=TableColumns(image="file", patient="person", split="fold"))
    splits = {
        split: {study.patient_id for study in studies if study.split == split} for split in ("train", "valid", "test")
    }
    assert 8 <= len(splits["valid"]) <= 35
    assert splits["test"] == {f"p{number}" for number in range(190, 200)}
    assert not splits["train"] & splits["valid"]


def test_without_patients_each_study_is_a_person(table):
    study = read(table, columns=TableColumns(image="file"))[0]
    assert (study.study_id, study.patient_id, study.split) == ("a.png", "a.png", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report": "text"}, "table.csv: no column 'text'; it has 'file'"),
        ({"labels": ["projection"]}, "table.csv row 2, column 'projection': 'PA' is not a number"),
        ({"labels": ["years"]}, "table.csv row 2, column 'years': label '61' is not 1, 0, -1 or blank"),
        ({"split": "projection"}, "table.csv row 2: split 'PA' is not one of train, valid, test"),
        ({"image": "years"}, "table.csv row 3: column 'years' is empty"),
    ],
)
def test_bad_cells_and_columns_are_named(table, change, message):
    with pytest.raises(IgclError) as error:
        read(table, columns=TableColumns(**FIELDS | change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_broken_table_is_named(tmp_path):
    with pytest.raises(IgclError, match="gone.csv: no such file"):
        read(tmp_path / "gone.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(IgclError, match="empty.csv: not a CSV file"):
        read(tmp_path / "empty.csv")


@pytest.mark.parametrize(
    ("word", "view"), [("AP Supine", "AP"), ("RL", "lateral"), ("?", "unknown"), (None, "unknown")]
)
def test_views_of_all_sources_have_one_name(word, view):
    assert view_name(word) == view
