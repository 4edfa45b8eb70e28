import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.sources.covidx import LABELS, read_covidx
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from source_trees import write_image

LISTS = {
    "train": (
        "1 a 1.png normal rsna",
        "2 b.png pneumonia rsna",
        "2 c.jpg COVID-19 cohen",
        "3 d.png COVID-19 cohen",
        "3 d.png COVID-19 cohen",
        "9 e.png normal rsna",
    ),
    "val": ("7 a.png pneumonia rsna", "8 b.png normal rsna"),
    "test": ("9 a.png COVID-19 rsna", "8 f.png normal rsna"),
}


def covidx_tree(root, lists=LISTS):
    for split, lines in lists.items():
        (root / split).mkdir(parents=True)
        (root / f"{split}.txt").write_text("\n".join((*lines, "")))
        for number, line in enumerate(lines):
            write_image(root / split / " ".join(line.split()[1:-2]), number)
    return root


@pytest.fixture
def root(tmp_path):
    return covidx_tree(tmp_path / "covidx")


def by_id(source):
    return {study.study_id: study for study in source.items()}


def test_lists_are_splits_and_classes_are_labels(root):
    source = read_covidx(root)
    studies = by_id(source)
    assert source.labels == LABELS == ("Normal", "Pneumonia", "COVID-19")
    assert {name: study.split for name, study in studies.items()} == {
        **dict.fromkeys(("train/a 1.png", "train/b.png", "train/c.jpg", "train/d.png"), "train"),
        "val/a.png": "valid",
        **dict.fromkeys(("test/a.png", "test/f.png"), "test"),
    }
    assert studies["train/c.jpg"].labels == {"Normal": 0.0, "Pneumonia": 0.0, "COVID-19": 1.0}
    assert studies["train/a 1.png"].labels == {"Normal": 1.0, "Pneumonia": 0.0, "COVID-19": 0.0}
    assert all(study.images[0].source.is_file() for study in studies.values())
    assert studies["val/a.png"].extra == {"source": "rsna"}


def test_patients_are_those_of_a_source_and_in_one_split(root):
    source = read_covidx(root)
    studies = by_id(source)
    assert (studies["train/b.png"].patient_id, studies["train/c.jpg"].patient_id) == ("rsna/2", "cohen/2")
    assert source.counts == {
        "lines of an image named before": 1,
        "train images of patients of a later split, left out": 1,
        "valid images of patients of a later split, left out": 1,
    }


def test_lists_of_two_classes_have_one_label(tmp_path, capsys):
    words = {"normal": "negative", "pneumonia": "negative", "COVID-19": "positive"}
    lists = {
        split: [" ".join(words.get(word, word) for word in line.split()) for line in lines]
        for split, lines in LISTS.items()
    }
    source = read_covidx(covidx_tree(tmp_path / "covidx", lists).parent)
    studies = by_id(source)
    assert source.labels == ("COVID-19",)
    assert "positive and negative only, so COVID-19 is the only label" in capsys.readouterr().err
    assert (studies["train/b.png"].labels, studies["train/c.jpg"].labels) == ({"COVID-19": 0.0}, {"COVID-19": 1.0})


def test_negative_beside_three_classes_leaves_the_others_unknown(tmp_path):
    lists = {**LISTS, "val": ("7 a.png negative rsna", "8 b.png positive rsna")}
    source = read_covidx(covidx_tree(tmp_path / "covidx", lists))
    studies = by_id(source)
    assert source.labels == LABELS
    assert studies["val/a.png"].labels == {"Normal": None, "Pneumonia": None, "COVID-19": 0.0}
    assert source.counts["negative images, normal or pneumonia unknown"] == 1


def test_older_lists_have_no_source_and_other_names(root):
    for split, lines in LISTS.items():
        (root / f"{split}.txt").unlink()
        if split != "val":
            (root / f"{split}_COVIDx9A.txt").write_text("\n".join(line.rpartition(" ")[0] for line in lines))
    studies = by_id(read_covidx(root))
    assert studies["train/a 1.png"].patient_id == "/1"
    (root / "train_COVIDx9B.txt").write_text("")
    with pytest.raises(IgclError, match=r"several lists of train, train_COVIDx9A.txt and train_COVIDx9B.txt; keep one"):
        read_covidx(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "1 x.png tuberculosis rsna",
            r"test.txt line 2: '1 x.png tuberculosis rsna' is not a patient, a file, a class",
        ),
        ("x.png normal", "test.txt line 2: 'x.png normal' is not a patient"),
        ("9 a.png normal rsna", r"test.txt row 2: file 'a.png' has word 'normal', but 'covid-19' in row 1"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(root, line, message):
    first, *_ = LISTS["test"]
    (root / "test.txt").write_text(f"{first}\n{line}\n")
    with pytest.raises(IgclError, match=message):
        read_covidx(root)


def test_missing_lists_are_named(root):
    (root / "test.txt").unlink()
    with pytest.raises(IgclError, match=r"covidx: no list test.txt of COVIDx, there or one folder deeper"):
        read_covidx(root)


def test_the_command_line_makes_a_store(root, tmp_path, capsys):
    command = ["prepare", "covidx", "--root", str(root), "--out", str(tmp_path / "store"), "--size", "16"]
    assert main(command) is None
    assert Store(tmp_path / "store").manifest["rows"] == {"train": 4, "valid": 1, "test": 2}
    assert "  reports: none\n" in capsys.readouterr().out
