"""Sections of the page: which there are, and what they say."""

import pandas as pd
import pytest

from igcl_lightning.evaluation.label_savings import label_savings, savings_line, savings_lines, savings_record
from igcl_lightning.evaluation.plots import is_marked, plot_differences
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.pretraining_cost import cost_rows
from igcl_lightning.evaluation.published import read_published
from igcl_lightning.evaluation.report_page import drawings_of, efficiency_groups, page_sections, published_section
from igcl_lightning.evaluation.results import make_record, summarise

SETTINGS = [(0.01, None), (0.1, None), (1.0, None)]


@pytest.fixture
def frame(simulated):
    return simulated({"igcl": 2.0, "random": 0.5}, SETTINGS, seeds=1)


@pytest.fixture
def records(frame):
    return summarise(frame, versus=[("igcl", "random")], protocol="linear", store="s")


def record(metric, value, **more):
    about = {"protocol": "linear", "store": "s", "split": "test", "metric": metric, "n": 99}
    setting = {name: more.pop(name, None) for name in ("fraction", "shots", "seed")}
    ends = more.pop("ends", (value - 0.1, value + 0.1))
    return make_record(Run(more.pop("method", "igcl"), **setting), value, ends, **about | more)


def texts(section):
    return [cell for table in [*section.tables, *section.folded] for row in table.rows for cell in row]


def test_sections_without_data_are_left_out(records, frame):
    assert page_sections([], {}) == []
    with_scores = page_sections(records, {"linear": frame})
    assert [each.id for each in with_scores] == ["overview", "label-efficiency", "labels", "roc", "differences"]
    recall = [record("image_to_graph_recall@5", 0.3, protocol="retrieval")]
    assert [each.id for each in page_sections(recall, {})] == ["overview"]
    assert page_sections(records, {"linear": frame}, "valid") == []


def test_every_figure_has_its_numbers_and_a_name_of_its_own(records, frame):
    drawings = list(drawings_of(page_sections(records, {"linear": frame})))
    names = [each.name for each in drawings]
    assert names == ["label_efficiency", "per_label", "roc_linear", "differences_linear_auroc"]
    for each in drawings:
        assert each.caption
        assert len(each.table.rows) > 1
        assert len({len(row) for row in each.table.rows}) == 1
    efficiency = drawings[0].table.rows
    assert efficiency[0] == ["method", "1 %", "10 %", "100 %"]
    (mean,) = [
        each for each in records
        if (each["method"], each["fraction"], each["label"], each["seed"], each["versus"])
        == ("igcl", 0.1, "mean", None, None)
    ]  # fmt: skip
    assert efficiency[1][2].startswith(f"{mean['value']:.3f} [{mean['ci_low']:.2f}, ")


def test_the_main_table_has_a_row_for_each_question(records, frame):
    (overview, *_) = page_sections([*records, record("auroc", 0.1, fraction=0.1, group="sex: male")], {})
    rows = overview.tables[0].rows
    assert rows[0] == ["question", "igcl", "random"]
    assert [row[0] for row in rows[1:]] == ["1 %", "10 %", "100 %"]
    assert "0.100" not in " ".join(texts(overview)), "a group is no main result"


def test_calibration_needs_validation_rows_to_choose_on(records, frame):
    both = [frame, frame.assign(split="valid", row="v" + frame["row"])]
    sections = {each.id: each for each in page_sections(records, {"linear": pd.concat(both, ignore_index=True)})}
    (drawing,) = sections["calibration"].drawings
    assert drawing.title.endswith("linear, 100 %")
    assert {row[0] for row in drawing.table.rows[1:]} == {"Atelectasis", "Edema"}


def test_a_filled_mark_differs_from_0_after_correction_and_few_is_said():
    holm = {"Edema": 0.04, "Mass": 0.06, "Hernia": None}
    about = {"fraction": 1.0, "versus": "random"}
    records = [
        record("auroc", 0.1, label=label, p_holm=p, p_value=0.01, few=label == "Mass", **about)
        for label, p in holm.items()
    ]
    records.append(record("auroc", 0.1, p_value=0.06, **about))
    (axes,) = plot_differences(records, "AUROC").axes
    (marks,) = [each for each in axes.collections if len(each.get_offsets()) == 4 and len(each.get_facecolors()) == 4]
    assert (marks.get_facecolors()[:, 3] > 0).tolist() == [True, False, False, False]
    assert is_marked(record("auroc", 0.1, p_value=0.04, **about)), "a mean is no label to correct for"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Edema", "Mass (few)", "Hernia", "mean"]
    assert marks.get_offsets()[:, 0].tolist() == pytest.approx([0.1] * 4)
    (section,) = [each for each in page_sections(records, {}) if each.id == "differences"]
    rows = section.drawings[0].table.rows
    assert [row[-1] for row in rows] == ["differs from 0", "yes", "", "", ""]
    assert "few" in rows[2][-3]
    assert "few: fewer than 10" in section.drawings[0].caption.lower()


def test_saved_labels_are_told_as_they_were_computed_with_single_pretrainings(frame, records):
    saved = label_savings(frame, "igcl", "random", 0.01)
    about = {"protocol": "linear", "store": "s"}
    whole = savings_record(saved, **about)
    assert savings_lines([*records, whole]) == [savings_line(saved)]
    one = [record("label_savings", 5.0, fraction=0.01, versus="random", seed=1000)]
    assert savings_lines([*records, whole, *one]) == [savings_line(saved)], "one pretraining says nothing of others"
    two = [*one, record("label_savings_at_least", 7.0, fraction=0.01, versus="random", seed=2000)]
    assert savings_lines([*records, whole, *two]) == [f"{savings_line(saved)}; by single pretrainings: 5, >7"]
    efficiency = next(each for each in page_sections([*records, whole], {}) if each.id == "label-efficiency")
    assert efficiency.text == [savings_line(saved)]


def test_probes_share_a_figure_and_other_protocols_have_their_own():
    records = [
        record("auroc", 0.7, fraction=0.1),
        record("auroc", 0.7, shots=5, protocol="few_shot"),
        record("auroc", 0.8, fraction=0.1, protocol="fine_tune"),
        record("auroc", 0.8, fraction=0.1, protocol="paper"),
        record("auroc", 0.6, protocol="zero_shot"),
        record("auroc", 0.8, fraction=0.1, seed=3),
        record("auroc", 0.8, fraction=0.1, versus="random"),
    ]
    groups = efficiency_groups(records, "test")
    assert {name: [each["protocol"] for each in own] for name, own in groups.items()} == {
        "label_efficiency": ["linear", "few_shot"],
        "fine_tuning": ["fine_tune"],
        "paper_efficiency": ["paper"],
    }


def test_groups_are_a_table_and_shortcuts_another():
    records = [
        record(metric, 0.7 + 0.1 * number, fraction=1.0, group=group, label=label, patients=30)
        for metric in ("auroc", "sensitivity")
        for number, group in enumerate(("sex: female", "sex: male"))
        for label in ("Edema", "mean")
    ]
    about = {"protocol": "audit", "method": "audit", "label": "Edema", "group": "lower left corner"}
    records += [
        record("shortcut_patch", 0.9 - 0.2 * (split == "test"), split=split, **about) for split in ("train", "test")
    ]
    (audit,) = [each for each in page_sections(records, {}) if each.id == "audit"]
    groups, cues = audit.tables
    assert groups.caption == "AUROC by group: linear, means over labels"
    assert groups.rows == [
        ["group", "patients", "igcl, 100 %"],
        ["sex: female", "30", "0.700 [0.60, 0.80]"],
        ["sex: male", "30", "0.800 [0.70, 0.90]"],
    ]
    assert cues.rows == [
        ["mark or column", "label", "train", "test"],
        ["lower left corner", "Edema", "0.900 [0.80, 1.00]", "0.700 [0.60, 0.80]"],
    ]
    assert [table.caption for table in audit.folded] == [
        "AUROC by group: linear",
        "sensitivity by group: linear, means over labels",
        "sensitivity by group: linear",
    ]
    assert audit.folded[0].rows[1][:3] == ["sex: female", "Edema", "30"]


def test_costs_are_a_table_of_means_over_pretrainings():
    about = {"protocol": "pretraining", "split": "train"}
    records = [
        record(metric, value, method=method, seed=seed, **about)
        for method, scale in (("IGCL", 1), ("GCN", 2))
        for metric, value in (("parameters", 1e6 * scale), ("seconds_per_step", 0.08 * scale))
        for seed in (0, None)
    ]
    rows = [["method", "parameters", "of the reports' encoder", "ms/step", "s/epoch"],
            ["IGCL", "1,000,000", "", "80.0", ""], ["GCN", "2,000,000", "", "160.0", ""]]  # fmt: skip
    assert cost_rows(records) == rows
    (section,) = page_sections(records, {})
    assert section.tables[0].rows == rows
    assert cost_rows([record("parameters", 1e6)]) == [], "of another protocol"


def test_published_numbers_have_a_section_of_their_own_once_each():
    published = read_published()
    section = published_section(["ablation", "ablation"])
    titles = [table.title for table in published.tables.values() if "ablation" in table.protocols]
    assert [table.caption.split(". ")[0] for table in section.folded] == [title.split(". ")[0] for title in titles]
    assert section.text[0].startswith("Published, not measured here")
    assert any("0.863 [0.84, 0.89]" in row for table in section.folded for row in table.rows)
    assert published_section(["retrieval"]) is None
    assert published_section([]) is None
