"""Published numbers: against each other, against counts, and wrong files as one line."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.published import (
    FILE,
    MARKS,
    Number,
    format_published,
    published_rows,
    read_published,
)
from igcl_lightning.training.options import shipped_configs

LABELS = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
POSITIVES = (153, 151, 29, 78, 104)
STUDIES = 500
ODD = {"SupCon": 0.0035, "RGCN + meta": 0.014}
"""How far means are from those of their points, where that is more than can be read off; the file names them."""

FOUND = {1: (123, 72, 19, 49, 85), 2: (109, 129, 14, 62, 86), 3: (141, 106, 13, 45, 93)}
WRONG = {1: (74, 16, 52, 36, 21), 2: (61, 81, 42, 79, 69), 3: (109, 37, 16, 31, 54)}


@pytest.fixture(scope="module")
def published():
    return read_published()


def value(table, row, column):
    return table.number(row, column).value


def test_each_table_is_shown_by_a_protocol_that_is_shipped(published):
    shipped = {path.stem for path in (shipped_configs() / "protocol").glob("*.yaml")}
    named = {name for table in published.tables.values() for name in table.protocols}
    assert named - {"ablation"} <= shipped
    assert named == {"chexpert_linear", "chexpert_few_shot", "igcl_legacy", "ablation"}
    assert {table.mark for table in published.tables.values()} == set(MARKS)


@pytest.mark.parametrize("column", [*LABELS, "mean"])
def test_a_baseline_is_igcl_less_its_difference(published, column):
    igcl = value(published.tables["linear_auroc"], "IGCL", column)
    baselines, differences = published.tables["linear_baselines"], published.tables["linear_differences"]
    assert baselines.numbers.keys() == differences.numbers.keys()
    for name in baselines.numbers:
        assert value(baselines, name, column) + value(differences, name, column) == pytest.approx(igcl, abs=0.0011)


def test_few_shot_differences_are_those_of_the_means(published):
    means, differences = published.tables["few_shot_means"], published.tables["few_shot_differences"]
    for name in differences.numbers:
        apart = value(means, "IGCL", "5-shot") - value(means, name, "5-shot")
        assert value(differences, name, "mean") == pytest.approx(apart, abs=means.precision)


def test_means_are_those_of_the_five_labels(published):
    checked = 0
    for table in published.tables.values():
        for name, line in table.numbers.items():
            if list(table.columns) == [*LABELS, "mean"] and None not in line and table.mark != "text":
                mean = sum(number.value for number in line[:5]) / 5
                near = ODD.get(name, 0.0011 + (table.precision or 0.0005))
                assert line[5].value == pytest.approx(mean, abs=near), (table.title, name)
                checked += 1
    assert checked > 40


def test_readers_follow_from_their_counts(published):
    scores = {"readers_mcc": [], "readers_f1": []}
    for reader in (1, 2, 3):
        lines = {"readers_mcc": [], "readers_f1": []}
        for label, found, wrong, positives in zip(LABELS, FOUND[reader], WRONG[reader], POSITIVES, strict=True):
            missed, right = positives - found, STUDIES - positives - wrong
            root = math.sqrt((found + wrong) * positives * (STUDIES - positives) * (missed + right))
            lines["readers_mcc"].append((found * right - wrong * missed) / root)
            lines["readers_f1"].append(2 * found / (2 * found + wrong + missed))
            for name, line in lines.items():
                got = value(published.tables[name], f"radiologist {reader}", label)
                assert got == pytest.approx(line[-1], abs=0.00051), (name, reader, label)
        for name, line in lines.items():
            got = value(published.tables[name], f"radiologist {reader}", "mean")
            assert got == pytest.approx(sum(line) / 5, abs=0.00051)
            scores[name].append(got)
    assert max(scores["readers_mcc"]) > value(published.tables["linear_mcc"], "IGCL", "mean")


def test_what_the_paper_prints_is_what_its_figures_show(published):
    text, figure = published.tables["linear_text"], published.tables["linear_auroc"]
    for label in LABELS:
        assert abs(value(text, "IGCL", label) - value(figure, "IGCL", label)) <= 0.005 + figure.precision
    assert value(text, "IGCL", "mean") == pytest.approx(value(figure, "IGCL", "mean"), abs=figure.precision)
    joins = published.tables["ablation_joins"]
    for label in (*LABELS, "mean"):
        apart = abs(value(joins, "IGCL, attention", label) - value(figure, "IGCL", label))
        assert apart <= joins.precision
    with pytest.raises(KeyError):
        text.number("IGCL with GAT", "Edema")


def test_the_block_says_what_it_is():
    text = format_published("chexpert_linear")
    assert text.startswith("published, not measured here: on CheXpert's test set of 500 studies\n")
    for words in ("0.863 [0.84, 0.89]", "IGCL - CXR-RePaiR-CLIP", "-0.026", "+0.020 [+0.01, +0.03]", "SupCon", " -  "):
        assert words in text
    for mark in MARKS.values():
        assert mark in text
    assert "Fig 5" not in text
    assert format_published("linear") == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mark": "guess"}, "some: mark is 'guess', not one of text, figure, derived"),
        ({"metric": "auc"}, "some: metric is 'auc', not one of auroc, f1, mcc"),
        ({"precision": 0.1}, "some: precision is that of numbers read off a figure, and only theirs"),
        ({"mark": "figure"}, "some: precision is that of numbers read off a figure, and only theirs"),
        ({"shot": 5}, "some: shot: unknown key, did you mean shots?"),
        ({"title": None}, "some: lacks title"),
        ({"numbers": {"a": [0.5]}}, "some: a: 1 numbers for 2 columns"),
        ({"numbers": {"a": [0.5, 1.5]}}, "some: a: 1.5 is out of range"),
        ({"numbers": {"a": [0.5, -0.1]}}, "some: a: -0.1 is out of range"),
        ({"numbers": {"a": [0.5, [0.5, 0.6, 0.7]]}}, "[0.5, 0.6, 0.7] is out of range, or the value outside of its"),
        ({"numbers": {"a": [0.5, [0.5, 0.6]]}}, "some: a: [0.5, 0.6] is neither a number nor [value, low, high]"),
        ({"numbers": {"a": [0.5, "x"]}}, "some: a: 'x' is neither a number nor [value, low, high]"),
    ],
)
def test_a_wrong_file_is_one_line(change, message, tmp_path):
    table = {"title": "t", "protocols": ["p"], "metric": "auroc", "source": "s", "mark": "text", "columns": ["a", "b"]}
    table = {"numbers": {"a": [0.5, None]}, **table} | change
    table = {key: each for key, each in table.items() if each is not None}
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump({"paper": "p", "test_set": "t", "tables": {"some": table}}))
    with pytest.raises(IgclError) as raised:
        read_published(path)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(path))


def test_the_file_stands_beside_its_reader():
    assert Path(FILE).read_text().startswith("# Numbers that the paper of IGCL publishes")


def test_only_the_last_column_has_intervals(published):
    table = next(iter(published.tables.values()))
    width = len(table.columns)
    whole = replace(table, numbers={"row": [Number(0.8, 0.7, 0.9)] * width})
    (_, cells) = published_rows(whole)
    assert ["[" in cell for cell in cells[1:]] == [False] * (width - 1) + [True]
