import math

import pytest
from broken_stores import change_row, edit_manifest, said, study, write_store

from igcl_lightning.data.store import Store
from igcl_lightning.doctor.label_checks import check_labels, prevalences
from igcl_lightning.doctor.opened import OpenedStore


def counted_by_hand(path):
    """Known and positive rows by label and split, one row after the other."""
    counts = {}
    for split in Store(path).splits:
        for row in Store(path).table(split).with_format("arrow")[:].to_pylist():
            for label, value in row["labels"].items():
                known, positive = counts.get((label, split), (0, 0))
                counts[label, split] = (known + (value is not None), positive + (value == 1))
    return counts


def test_prevalences_are_those_of_a_loop(store, phantom_store):
    for path in (store, phantom_store):
        table = prevalences(OpenedStore(path))
        assert {(row.label, row.split): (row.known, row.positive) for row in table} == counted_by_hand(path)
        assert len(table) == len({(row.label, row.split) for row in table})


@pytest.mark.data
def test_prevalences_of_nih_are_those_of_its_table(data_folder, tmp_path):
    import csv

    labels = ["Edema", "Hernia", "Fibrosis", "Infiltration"]
    with (data_folder / "nih_cxr14" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    studies = [
        study(
            number,
            patient_id=row["Patient ID"],
            labels={label: float(row[label]) for label in labels},
            split=row["split"],
        )
        for number, row in enumerate(rows)
    ]
    path = write_store(tmp_path / "store", studies, labels, size=8)
    expected = {
        (label, split): sum(row[label] == "1" for row in rows if row["split"] == split)
        for label in labels
        for split in ("train", "valid")
    }
    findings = list(check_labels(OpenedStore(path)))
    assert {(row.label, row.split): row.positive for row in prevalences(OpenedStore(path))} == expected
    assert said(findings, "warning") == [
        "no positives in valid: Hernia, Fibrosis; such a label is left out of the mean"
    ]


def test_labels_of_one_class_are_named_by_split(store):
    for index in range(2):
        change_row(store, "valid", index, labels={"Edema": 1.0, "Fracture": None})
        change_row(store, "test", index, labels={"Edema": 0.0, "Fracture": 0.0})
    assert said(check_labels(OpenedStore(store)), "warning") == [
        "no known value in valid: Fracture; such a label is left out of the mean",
        "no positives in test: Edema, Fracture; such a label is left out of the mean",
        "no negatives in valid: Edema; such a label is left out of the mean",
    ]


def test_a_label_without_positives_in_train_cannot_be_learnt(tmp_path):
    studies = [study(number, labels={"Edema": 0.0, "Fracture": float(number % 2)}) for number in range(12)]
    path = write_store(tmp_path / "store", studies)
    assert "no positives in train: Edema; such a label cannot be learnt" in said(
        check_labels(OpenedStore(path)), "warning"
    )


@pytest.mark.parametrize("value", [-1.0, 2.0])
def test_other_values_than_0_and_1_are_errors(store, value):
    change_row(store, "train", 0, labels={"Edema": value, "Fracture": None})
    message = f"'Edema' has the value {value:g} in train, expected 1, 0 or none; prepare again"
    assert said(check_labels(OpenedStore(store)), "error") == [message]


def test_a_label_that_only_the_manifest_has_is_an_error(store):
    edit_manifest(store, labels=["Edema", "Fracture", "Nodule"])
    messages = said(check_labels(OpenedStore(store)), "error")
    assert messages[0] == "'Nodule' is in the manifest, not among the train rows"


def test_a_shift_between_splits_is_named_and_chance_is_not(tmp_path):
    def labels(number, split):
        often = number % 2 if split == "train" else number % 20 == 0
        return {"Edema": float(often), "Fracture": float(number % 3 == 0)}

    studies = [
        study(number, split=split, labels=labels(number, split), patient_id=f"{split}-{number}")
        for number in range(300)
        for split in [("train", "valid", "test")[number // 100]]
    ]
    opened = OpenedStore(write_store(tmp_path / "store", studies, size=8))
    assert said(check_labels(opened), "warning") == [
        "prevalence differs from train to valid: Edema 50.0% to 5.0%",
        "prevalence differs from train to test: Edema 50.0% to 5.0%",
    ]


def test_the_summary_names_the_rarest_and_the_most_common_label(store):
    finding = list(check_labels(OpenedStore(store)))[-1]
    assert finding.message == "2 labels: in train from 25.0% (Fracture) to 50.0% (Edema)"
    shares = [row["share"] for row in finding.numbers["prevalence"]]
    assert all(share is None or not math.isnan(share) for share in shares)


def test_a_store_without_labels_says_so(tmp_path):
    path = write_store(tmp_path / "store", [study(number, labels={}) for number in range(6)], labels=())
    assert said(check_labels(OpenedStore(path))) == ["none stored: pretraining only"]
