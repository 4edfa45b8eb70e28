import shutil
from dataclasses import replace

import datasets
import numpy as np
import pytest
from broken_stores import change_row, edit_manifest, picture, rewrite, said, study, write_store

from igcl_lightning.data.store import graph_of
from igcl_lightning.data.study import StudyImage
from igcl_lightning.doctor.id_checks import check_ids
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.store_checks import (
    check_flags,
    check_manifest,
    check_node_text,
    check_patients,
    check_people,
    check_row_ids,
    check_splits,
    check_views,
)
from igcl_lightning.graphs.parser import SpacyReportParser

CHECKS = (
    check_manifest,
    check_splits,
    check_row_ids,
    check_patients,
    check_ids,
    check_views,
    check_people,
    check_node_text,
    check_flags,
)


def test_a_good_store_has_no_faults(store):
    opened = OpenedStore(store)
    assert opened.faults == []
    assert opened.num_rows == 12
    assert {finding.level for check in CHECKS for finding in check(opened)} == {"ok"}
    assert [*check_ids(opened)] == []


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 1}'])
def test_a_manifest_that_cannot_be_used_is_an_error_and_the_rows_are_still_looked_at(store, text):
    (store / "manifest.json").write_text(text)
    opened = OpenedStore(store)
    assert [finding.level for finding in opened.faults] == ["error"]
    assert "prepare the store again" in opened.faults[0].message
    assert opened.num_rows == 12


def test_a_split_that_cannot_be_opened_is_named(store):
    for file in (store / "valid").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:100])
    opened = OpenedStore(store)
    assert "valid: unreadable" in opened.faults[0].message
    assert list(opened.tables) == ["train", "test"]


def test_a_split_without_a_column_is_named(store):
    datasets.load_from_disk(str(store / "test")).remove_columns("patient").save_to_disk(str(store / "new"))
    shutil.rmtree(store / "test")
    (store / "new").rename(store / "test")
    assert "has no column 'patient'" in OpenedStore(store).faults[0].message


def test_counts_of_the_manifest_are_compared_with_the_rows(store):
    rewrite(store, "train", lambda rows: rows.pop())
    assert said(check_manifest(OpenedStore(store)), "error") == [
        "7 train rows, the manifest says 8; prepare the store again"
    ]
    shutil.rmtree(store / "valid")
    edit_manifest(store, rows={"train": 7, "valid": 2, "test": 2})
    assert "0 valid rows, the manifest says 2" in said(check_manifest(OpenedStore(store)), "error")[0]


def test_graphs_of_another_parser_are_named(store):
    edit_manifest(store, parser="spacy-rules-0-x")
    installed = SpacyReportParser().version
    message = f"graphs were parsed by spacy-rules-0-x, installed is {installed}; parse them again"
    assert said(check_manifest(OpenedStore(store)), "warning") == [message]


def test_dropped_rows_are_told(store):
    edit_manifest(store, dropped={"image not readable": 3})
    assert "left out when preparing: 3 image not readable" in said(check_manifest(OpenedStore(store)), "ok")
    edit_manifest(store, dropped={"mask of another size than the image": 3})
    (message,) = said(check_manifest(OpenedStore(store)), "warning")
    assert message.endswith("so these are positives: prepare images of the original size")


def test_missing_splits_are_named(tmp_path):
    path = write_store(tmp_path / "store", [replace(study(number), split="valid") for number in range(3)])
    findings = list(check_splits(OpenedStore(path)))
    assert said(findings, "error") == ["no train rows: training is impossible"]
    assert said(findings, "warning") == ["no test rows: nothing to report"]
    assert said(findings, "ok") == ["rows 3 valid (100 %)"]


def test_row_ids_are_unique_over_all_splits(store):
    change_row(store, "test", 0, row="row-0")
    findings = list(check_row_ids(OpenedStore(store)))
    assert said(findings) == ["2 rows with the id of another, such as 'row-0'"]
    assert [(place.split, place.row) for place in findings[0].rows] == [("train", "row-0"), ("test", "row-0")]


def test_patients_in_two_splits_are_named_where_a_store_would_not_open(store):
    change_row(store, "test", 0, patient="patient-4")
    change_row(store, "test", 1, patient="patient-0")
    (finding,) = check_patients(OpenedStore(store))
    assert finding.level == "error"
    assert (
        "2 patients in several splits, such as 'patient-0', 'patient-4' (the first in train and test)"
        in finding.message
    )
    assert finding.numbers == {"patients": {"patient-0": ["train", "test"], "patient-4": ["valid", "test"]}}
    assert {place.row for place in finding.rows} == {"row-0", "row-4", "row-5", "row-11"}


def test_patients_in_two_spellings_are_named_also_where_each_is_in_one_split(tmp_path):
    names = ("7", "7.0", "8", "8", "9.0", "10", "011", "11", "NA", "-", "p1", "P1")
    patients = [study(number, patient_id=name, split="train") for number, name in enumerate(names)]
    store = OpenedStore(write_store(tmp_path / "store", patients))
    assert [(finding.level, finding.message) for finding in check_ids(store)] == [
        ("error", "2 rows of a patient who is nobody, such as 'NA', '-': several persons; prepare the store again"),
        ("error", "1 patient under several ids that are one number ('7' and '7.0'); prepare the store again"),
        (
            "warning",
            "2 patients perhaps under several ids, alike but for case or leading zeros ('011' and '11'); "
            "mend the table if so, and prepare the store again",
        ),
    ]
    crossed = [study(number, patient_id=name) for number, name in enumerate(("7", "8", "9", "7.00", "7.0", "8.0"))]
    store = OpenedStore(write_store(tmp_path / "crossed", crossed))
    (finding,) = check_ids(store)
    assert "2 of them in several splits, so that training sees test patients" in finding.message
    assert {place.row for place in finding.rows} == {"row-0", "row-1", "row-3", "row-4", "row-5"}


def test_studies_of_several_patients_are_named(store):
    change_row(store, "train", 1, study="study-0")
    findings = list(check_patients(OpenedStore(store)))
    assert said(findings, "error") == ["1 study id of several patients, such as 'study-0'; make study ids unique"]
    assert [place.row for place in findings[1].rows] == ["row-0", "row-1"]


def test_several_images_of_one_study_are_no_fault(tmp_path):
    two = tuple(StudyImage(f"image-{number}", picture(number), "PA") for number in (50, 51))
    path = write_store(tmp_path / "store", [study(0, images=two), study(1)])
    assert said(check_patients(OpenedStore(path)), "error") == []


def test_missing_ages_are_counted_and_odd_ones_named(store):
    change_row(store, "train", 0, age=None, sex=None)
    change_row(store, "train", 2, age=150.0)
    findings = list(check_people(OpenedStore(store)))
    assert findings[0].numbers == {"age": 1, "sex": 1}
    assert said(findings, "warning") == ["1 row with an impossible age, such as 150"]
    assert [place.row for place in findings[1].rows] == ["row-2"]


def test_views_are_counted_and_unknown_ones_are_named(store):
    change_row(store, "valid", 0, view="lateral")
    (finding,) = check_views(OpenedStore(store))
    assert finding.message == "train 8 PA; valid 1 lateral, 1 PA; test 2 PA"
    change_row(store, "valid", 0, view="LL")
    assert "'LL' is not a view" in said(check_views(OpenedStore(store)), "error")[0]
    for split, rows in (("train", 8), ("valid", 2), ("test", 2)):
        for index in range(rows):
            change_row(store, split, index, view="unknown")
    assert "all views are unknown: lateral" in said(check_views(OpenedStore(store)), "warning")[0]
    edit_manifest(store, source={"name": "table", "columns": {"image": "file"}})
    assert "unknown (name their column with --view-column)" in said(check_views(OpenedStore(store)), "warning")[0]


def test_node_text_that_only_the_manifest_has_is_an_error(store):
    assert said(check_node_text(OpenedStore(store)), "ok") == ["none stored; graphs use hashed subwords"]
    edit_manifest(store, node_text={"model": "some-model", "channels": 8})
    assert "disagree" in said(check_node_text(OpenedStore(store)), "error")[0]
    for split in ("train", "valid", "test"):
        table = datasets.load_from_disk(str(store / split))
        table.add_column("node_text", [[0.0]] * len(table)).save_to_disk(str(store / "new"))
        shutil.rmtree(store / split)
        (store / "new").rename(store / split)
    assert said(check_node_text(OpenedStore(store)), "ok") == ["8 channels of some-model"]


def test_flags_are_counted_by_row_or_else_by_the_manifest(store):
    assert list(check_flags(OpenedStore(store))) == []
    edit_manifest(store, flags={"turned by its EXIF tag": 2})
    assert said(check_flags(OpenedStore(store))) == ["flagged when preparing: 2 turned by its EXIF tag"]
    change_row(store, "valid", 0, flags=["a", "b"])
    change_row(store, "train", 0, flags=["lateral view"])
    odd, fine = check_flags(OpenedStore(store))
    assert (odd.level, odd.numbers) == ("warning", {"a": 1, "b": 1})
    assert (fine.level, fine.numbers, len(fine.rows)) == ("ok", {"lateral view": 1}, 1)
    assert [(place.split, place.number, place.row) for place in odd.rows] == [("valid", 0, "row-4")]


def test_places_and_records_agree_with_the_tables(store):
    opened = OpenedStore(store)
    for number, place in enumerate(opened.places(np.arange(12))):
        row = datasets.load_from_disk(str(store / place.split)).with_format("arrow")[place.number].to_pylist()[0]
        assert opened.record(place) == row
        assert row["row"] == place.row
        assert opened.images[number].as_py() == row["image"]["bytes"]


def test_a_graph_comes_back_as_it_was_parsed(store):
    opened = OpenedStore(store)
    parser = SpacyReportParser()
    for place in opened.places(np.arange(12)):
        record = opened.record(place)
        graph = graph_of(record["graph"])
        assert graph == parser.parse(record["report"]["findings"])
        assert graph.relations
