"""More methods than a figure tells apart: lines of differences, tables, the figure, and the page."""

import numpy as np
import pandas as pd
import pytest

from html_pages import faults_of
from igcl_lightning.evaluation.decisions import TITLES, format_decisions, summarise_decisions
from igcl_lightning.evaluation.many_rows import (
    LONGEST_NAME,
    MOST_METHODS,
    are_many,
    compared_rows,
    differences_of,
    format_compared,
    format_rows,
    main_means,
)
from igcl_lightning.evaluation.overview import write_overview
from igcl_lightning.evaluation.plots import plot_mean_differences
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.report_page import page_sections
from igcl_lightning.evaluation.results import make_record, summarise
from igcl_lightning.evaluation.retrieval import format_retrieval
from igcl_lightning.protocols import evaluation_page
from igcl_lightning.protocols.evaluation_page import write_sections
from igcl_lightning.protocols.run_record import RunRecord

NAMES = [f"row {number}" for number in range(MOST_METHODS + 1)]
SETTINGS = [(0.01, None), (0.1, None)]
LINES = [*NAMES[1:4], "… - row 2", *NAMES[4:]]


@pytest.fixture(scope="module")
def crowd(simulated):
    """Records of rows that are compared with the first, one of them with another too, and their scores."""
    scores = simulated(dict(zip(NAMES, np.linspace(2, 0, len(NAMES)), strict=True)), SETTINGS, seeds=2)
    scores = pd.concat([scores, scores.assign(split="valid", row="v" + scores["row"])], ignore_index=True)
    versus = [(NAMES[3], NAMES[2]), *((name, NAMES[0]) for name in NAMES[1:])]
    about = {"versus": versus, "protocol": "linear", "store": "s"}
    tested = scores[scores["split"] == "test"]
    return [*summarise(tested, **about), *summarise_decisions(scores, ["test"], **about)], scores


def record(metric, method, value, versus=None, **more):
    about = {"protocol": "retrieval", "store": "s", "split": "test", "n": 99, "patients": 40, "few": False}
    return make_record(
        Run(method, None, None, None), value, (value - 0.1, value + 0.1), metric=metric, versus=versus, **about | more
    )


def means(records, metric="auroc"):
    return [each for each in records if (each["metric"], each["label"], each["seed"]) == (metric, "mean", None)]


def number_of(records, method, versus, fraction):
    (found,) = [
        each for each in means(records)
        if (each["method"], each["versus"], each["fraction"]) == (method, versus, fraction)
    ]  # fmt: skip
    return found


def test_a_line_is_a_row_and_a_further_difference_stands_below_it(crowd):
    records, _ = crowd
    rows = compared_rows(means(records), {name: number for number, name in enumerate(NAMES, 1)})
    assert rows[0] == ["method", "seeds", "1 %", "minus row 0", "10 %", "minus row 0"]
    assert [row[0] for row in rows[1:]] == [NAMES[0], *LINES]
    assert [row[1] for row in rows[1:]] == ["1", "2", "3", "4", "", "5", "6", "7", "8", "9"]
    for row in rows[1:]:
        method, versus = ("row 3", "row 2") if row[0] == "… - row 2" else (row[0], NAMES[0])
        for place, fraction in ((2, 0.01), (4, 0.1)):
            value, apart = "", ""
            if row[0] in NAMES:
                value = f"{number_of(records, method, None, fraction)['value']:.3f}"
            if method != NAMES[0]:
                found = number_of(records, method, versus, fraction)
                apart = f"{found['value']:+.3f} [{found['ci_low']:+.3f}, {found['ci_high']:+.3f}]"
            assert row[place : place + 2] == [value, apart], row[0]


def test_what_most_differences_share_is_subtracted_or_subtracted_from():
    values = [record("auroc", name, 0.5) for name in "ABCD"]
    first = [record("auroc", "A", 0.1, other) for other in "BCD"]
    rows = compared_rows([*values, *first, record("auroc", "D", 0.2, "C")])
    assert rows[0] == ["method", "AUROC", "A minus it"]
    assert [row[0] for row in rows[1:]] == ["A", "B", "C", "D", "D - C"]
    assert [row[2][:6] for row in rows[1:]] == ["", "+0.100", "+0.100", "+0.100", "+0.200"]
    last = [record("auroc", name, 0.1, "A") for name in "BC"]
    apart = differences_of([*last, record("auroc", "D", 0.2, "C")])
    assert [line.title for line in apart.lines] == ["B", "C", "D - C"], "no line above it names its row"
    assert compared_rows(values)[1] == ["A", "0.500"], "no differences, no column of them"


def test_a_long_name_stands_above_its_values_and_widens_no_column():
    name = "n" * (LONGEST_NAME + 1)
    lines = format_rows([["method", "a"], ["short", "0.1"], [name, "0.2"], ["n" * LONGEST_NAME, "0.3"]]).splitlines()
    assert lines[2] == name
    assert len({len(line) for line in lines if "0." in line}) == 1
    assert lines[3].split() == ["0.2"]


def test_printed_tables_of_many_have_a_line_for_each_row(crowd):
    records, _ = crowd
    text = format_compared(records, dict.fromkeys(NAMES, 2))
    caption, table = text.split("\n\n")
    assert caption.startswith("AUROC, mean over 2 labels and all seeds [95 % interval over patients]\n120 test rows")
    assert len(table.splitlines()) == 1 + len(NAMES) + 1
    assert "sd of runs" not in text
    both = [each | {"fraction": None, "shots": 5} for each in records] + records
    assert len(format_compared(both, {}).split("\n\n")) == 3


def test_of_retrieval_one_recall_and_the_rank_are_printed_of_many():
    metrics = [f"{way}_{name}{pool}" for way in ("image_to_graph", "graph_to_image") for pool in ("", "_without_own")
               for name in ("recall@1", "recall@5", "median_rank")]  # fmt: skip
    records = [record(metric, name, 10 + number / 8) for number, name in enumerate(NAMES) for metric in metrics]
    records += [record(metric, name, 1.25, NAMES[0]) for name in NAMES[1:] for metric in metrics]
    caption, table, rest = format_retrieval(records, dict.fromkeys(NAMES, 3)).split("\n\n")
    assert caption == "image to graph, own pair included: 99 test queries of 40 patients [95 % interval]"
    head, first, second, *_ = (line.split() for line in table.splitlines())
    assert " ".join(head) == "method seeds recall@5 minus row 0 median rank minus row 0"
    assert first == ["row", "0", "3", "10.000", "10.0"]
    assert " ".join(second) == "row 1 3 10.125 +1.250 [+1.150, +1.350] 10.1 +1.2 [+1.1, +1.4]"
    assert len(table.splitlines()) == 1 + len(NAMES)
    assert rest.endswith("results.json")
    assert "recall@1" in format_retrieval([each for each in records if each["method"] != NAMES[-1]])


def test_the_figure_has_each_difference_in_the_order_of_rows(crowd):
    records, _ = crowd
    panels = plot_mean_differences(differences_of(means(records)), "difference").axes
    assert [label.get_text() for label in panels[0].get_yticklabels()] == LINES
    for axes, fraction in zip(panels, (0.01, 0.1), strict=True):
        shown = [number_of(records, name, NAMES[0], fraction) for name in NAMES[1:]]
        shown.insert(3, number_of(records, "row 3", "row 2", fraction))
        lines, marks = axes.collections
        assert marks.get_offsets().tolist() == [[each["value"], y] for y, each in enumerate(shown)]
        assert (marks.get_facecolors()[:, 3] > 0).tolist() == [each["p_value"] < 0.05 for each in shown]
        ends = [segment[:, 0].tolist() for segment in lines.get_segments()]
        assert ends == [[each["ci_low"], each["ci_high"]] for each in shown]
        assert [text.get_text() for text in axes.texts] == [f"{each['value']:+.3f}" for each in shown]
        assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first row is above"
    assert not panels[0].figure.legends


def test_what_is_drawn_of_many_are_main_results_with_differences(crowd):
    records, _ = crowd
    more = [
        record(metric, name, 0.4, versus)
        for metric in ("image_to_graph_recall@1", "image_to_graph_recall@5", "graph_to_image_recall@5",
                       "within_patient_accuracy", "within_patient_accuracy_blind", "label_savings")
        for name, versus in (("row 0", None), ("row 1", None), ("row 1", "row 0"))
    ]  # fmt: skip
    alone = [record("dice_positives", "row 0", 0.4)]
    drawn = {metric for _, metric in main_means([*records, *more, *alone], "test")}
    assert drawn == {"auroc", "mcc", "image_to_graph_recall@5", "within_patient_accuracy"}
    grouped = [each | {"group": "sex: male"} for each in records]
    assert main_means(grouped, "test") == {}
    assert main_means(records, "valid") == {}


def test_the_page_of_many_shows_means_and_one_figure_of_differences_for_a_metric(crowd):
    records, scores = crowd
    seeds = dict.fromkeys(NAMES, 1)
    sections = {each.id: each for each in page_sections(records, {"linear": scores}, "test", seeds)}
    assert {name: [each.name for each in section.drawings] for name, section in sections.items()} == {
        "overview": [], "label-efficiency": [], "labels": [], "calibration": [],
        "differences": ["differences_linear_auroc", "differences_linear_mcc"],
    }  # fmt: skip
    assert [row[0] for row in sections["overview"].tables[0].rows] == ["method", *NAMES]
    drawing, _ = sections["differences"].drawings
    assert drawing.title == "Mean AUROC minus that of row 0: linear"
    assert drawing.table.rows == compared_rows(means(records), seeds)
    (answers,) = sections["calibration"].folded
    assert answers.rows[0] == ["method", *TITLES.values()]
    (mcc,) = [each for each in means(records, "mcc") if (each["method"], each["versus"]) == ("row 4", None)]
    assert answers.rows[5][5] == f"{mcc['value']:.3f} [{mcc['ci_low']:.2f}, {mcc['ci_high']:.2f}]"
    assert [row[0] for row in sections["labels"].folded[0].rows[1:]][1:3] == ["row 0, 1 %", "row 0, 10 %"]


def test_of_few_methods_the_page_and_tables_stay(crowd):
    records, _ = crowd
    few = [each for each in records if each["method"] in NAMES[:MOST_METHODS]]
    assert are_many(records)
    assert not are_many(few)
    sections = {each.id: each for each in page_sections(few, {})}
    names = [each.name for each in sections["differences"].drawings]
    assert len(names) == len(set(names)) == 2 * (MOST_METHODS - 1)
    assert len(sections["labels"].drawings) == 1
    assert "sensitivity" in format_decisions(few)


def test_groups_of_many_are_means_with_a_row_for_each_method(crowd):
    records, _ = crowd
    grouped = [
        record("auroc", name, 0.7, group=group, label=label)
        for name in NAMES for group in ("sex: female", "sex: male") for label in ("Edema", "mean")
    ]  # fmt: skip
    (audit,) = [each for each in page_sections([*records, *grouped], {}) if each.id == "audit"]
    (table,) = audit.tables
    assert table.rows[0] == ("group", "sex: female", "sex: male")
    assert [row[0] for row in table.rows[2:]] == NAMES
    assert not audit.folded


def test_the_main_table_as_a_file_has_the_differences_of_many_below_it(crowd, tmp_path):
    records, _ = crowd
    write_overview(records, tmp_path / "many.md")
    text = (tmp_path / "many.md").read_text()
    assert "linear: AUROC\n\n| method | 1 % | minus row 0 |" in text
    assert text.count("| … - row 2 |") == 2
    write_overview([each for each in records if each["method"] != NAMES[-1]], tmp_path / "few.md")
    assert "minus" not in (tmp_path / "few.md").read_text()


def test_a_page_of_forty_rows_stays_below_3_mb_and_without_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_page, "save_png", lambda *_: None)
    rows = [f"row {number} of an ablation, with a name as long as they are" for number in range(40)]
    metrics = [f"{way}_{name}@{k}" for way in ("image_to_graph", "graph_to_image") for name in ("recall", "precision")
               for k in (1, 5, 10)]  # fmt: skip
    labels = [f"Label {number}" for number in range(14)]
    groups = [f"age: {low} to {low + 10}" for low in range(0, 90, 10)]
    settings = [{"fraction": fraction} for fraction in (0.01, 0.1, 1.0)]
    asked = [("linear", metric, label, setting, None) for metric in ("auroc", "mcc") for label in (*labels, "mean")
             for setting in settings]  # fmt: skip
    asked += [("retrieval", metric, "mean", {}, None) for metric in metrics]
    asked += [("linear", "auroc", label, settings[-1], group) for group in groups for label in (*labels, "mean")]
    records = [
        record(metric, row, 0.5 + number / 100, versus, protocol=protocol, label=label, group=group, **setting)
        for number, row in enumerate(rows)
        for versus in ((None, rows[0]) if number else (None,))
        for protocol, metric, label, setting, group in asked
        if not (group and versus)
    ]
    sections = page_sections(records, {}, "test", dict.fromkeys(rows, 1))
    assert len([drawing for section in sections for drawing in section.drawings]) == 3
    write_sections(tmp_path, "Many rows", "", sections, RunRecord("", [], []))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(html.encode()) < 3e6
    assert faults_of(html) == []
    assert rows[-1] in html
