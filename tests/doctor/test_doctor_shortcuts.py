"""Marks that tell a label: one planted and one clean store, and a column that tells it."""

from functools import partial

import numpy as np
import pytest
from broken_stores import said, study, write_store

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.study import Study
from igcl_lightning.doctor.looks import look_at
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.shortcut_checks import check_shortcuts
from igcl_lightning.phantom import LABELS
from stores import prepare_studies


def without_report(index, **drawing) -> Study:
    """A phantom without words, which take most of the time to read."""
    one = phantom_study(index, size=64, views="frontal", **drawing)
    return Study(**{name: getattr(one, name) for name in Study.__slots__} | {"report": {}, "graph": None})


def phantoms(path, studies, seed, label=None, extra=("shortcut",)):
    made = [partial(without_report, index, seed=seed, shortcut=label) for index in range(studies)]
    kept = extra if label else ()
    prepare_studies(made, path, labels=LABELS, extra=kept, options=Options(size=64, lossless=True))
    return path


def shortcuts(path):
    store = OpenedStore(path)
    return store, list(check_shortcuts(store, look_at(store, np.arange(store.num_rows), 1)))


def test_a_planted_mark_is_named_with_its_place_and_rows(tmp_path):
    store, findings = shortcuts(phantoms(tmp_path / "planted", 260, seed=5, label="Support Devices"))
    patch, *others = [each for each in findings if each.level == "warning"]
    assert patch.check == "shortcuts"
    assert patch.message.startswith("Support Devices can be told by something small and bright, lower left and right")
    assert patch.message.endswith("; a model may read this mark instead of the finding")
    assert patch.numbers["label"] == "Support Devices"
    assert patch.numbers["train"] > 0.85
    records = [store.record(place) for place in patch.rows]
    assert len(records) == 8
    assert {each["labels"]["Support Devices"] for each in records} == {1}
    assert np.mean([each["shortcut"] == "1" for each in records]) > 0.8
    assert "test" not in {place.split for place in patch.rows}
    column = "Support Devices can be told by the column shortcut"
    assert [each.message.partition(":")[0] for each in others] == [column]
    assert others[0].message.endswith("; a model may read this instead of the finding")


def test_a_clean_store_has_associations_and_no_warning(tmp_path):
    _, findings = shortcuts(phantoms(tmp_path / "clean", 300, seed=8))
    assert said(findings, "warning") == []
    (mark,) = [each.message for each in findings if each.check == "shortcuts"]
    assert mark.startswith("no mark at the border tells one of 9 labels; most: ")
    (columns,) = [each.message for each in findings if each.check == "associations"]
    assert "Support Devices by view 0." in columns


def test_stores_that_cannot_be_asked(store, tmp_path):
    (finding,) = shortcuts(store)[1]
    assert finding.level == "not examined"
    assert finding.message == "each label has too few patients with or without it in training"
    without = write_store(tmp_path / "none", [study(number, labels={}) for number in range(12)], labels=())
    assert shortcuts(without)[1] == []


@pytest.mark.soak
@pytest.mark.parametrize("number", range(30))
def test_marks_are_named_in_planted_stores_only(tmp_path, number):
    label = LABELS[number % len(LABELS)] if number < 10 else None
    _, findings = shortcuts(phantoms(tmp_path / "store", 400, seed=100 + number, label=label, extra=()))
    warned = {(each.numbers["label"], each.numbers["by"].partition(" ")[0]) for each in findings if each.rows}
    assert warned == ({(label, "lower")} if label else set())
