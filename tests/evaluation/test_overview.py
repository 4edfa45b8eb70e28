"""The table of an evaluation by several protocols."""

from igcl_lightning.evaluation.overview import format_overview, write_overview
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import make_record
from igcl_lightning.evaluation.tables import as_markdown


def record(method, metric, value, protocol, **more):
    about = {"protocol": protocol, "store": "s", "split": "test", "metric": metric, "n": 9}
    setting = {name: more.pop(name, None) for name in ("fraction", "shots", "seed")}
    return make_record(Run(method, **setting), value, (value - 0.1, value + 0.1), **about | more)


RECORDS = [
    record("igcl", "auroc", 0.7, "linear", fraction=0.01),
    record("igcl", "auroc", 0.1, "linear", fraction=0.01, seed=1),
    record("igcl", "auroc", 0.2, "linear", fraction=0.01, label="Edema"),
    record("igcl", "auroc", 0.3, "linear", fraction=0.01, versus="simclr"),
    record("igcl", "auroc", 0.4, "linear", fraction=0.01, split="valid"),
    record("igcl", "auroc", 0.8, "linear", fraction=0.01, group="sex: F"),
    record("simclr", "auroc", 0.6, "linear", fraction=0.01),
    record("igcl", "auroc", 0.65, "few_shot", shots=5),
    record("igcl", "auroc", 0.5, "zero_shot"),
    record("igcl", "accuracy", 0.25, "zero_shot"),
    record("igcl", "image_to_graph_recall@1", 0.1, "retrieval"),
    record("igcl", "image_to_graph_recall@5", 0.2, "retrieval"),
    record("igcl", "image_to_graph_recall@5_without_own", 0.9, "retrieval"),
    record("convirt", "image_to_report_recall@5", 0.15, "retrieval"),
    record("igcl", "graph_to_image_recall@5", 0.8, "retrieval"),
    record("igcl", "within_patient_accuracy", 0.55, "hard_negatives"),
    record("igcl", "within_patient_accuracy_blind", 0.45, "hard_negatives"),
]


def test_each_method_is_a_line_and_each_question_a_column(tmp_path):
    text = format_overview(RECORDS)
    titles, igcl, simclr, convirt = text.splitlines()[-4:]
    assert titles.split("  ")[0] == "method"
    for title in ("1 %", "5-shot", "zero_shot", "zero_shot accuracy", "recall@5", "own report", "blind"):
        assert title in titles
    assert igcl.split() == ["igcl", "0.700", "0.650", "0.500", "0.250", "0.200", "0.550", "0.450"]
    assert simclr.split() == ["simclr", "0.600"]
    assert convirt.split() == ["convirt", "0.150"]
    assert convirt.index("0.150") == titles.index("recall@5")
    assert "blind: the same without the image" in text
    assert "blind" not in format_overview(RECORDS[:2])
    write_overview(RECORDS, tmp_path / "table.md")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert "| igcl | 0.700 [0.60, 0.80] | 0.650 [0.55, 0.75] |" in lines[4]
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_another_recall_stands_in():
    text = format_overview([record("igcl", "image_to_graph_recall@10", 0.4, "retrieval")])
    assert text.splitlines()[-2:] == ["method  recall@10", "igcl    0.400"]


def test_rows_of_another_split_stand_in():
    text = format_overview(RECORDS, "valid")
    assert text.splitlines()[0].endswith("valid rows")
    assert text.splitlines()[-2:] == ["method  1 %", "igcl    0.400"]


def test_choices_by_several_scores_and_of_several_kinds_have_columns_of_their_own():
    starts = {
        "within_patient_accuracy_local": "own report local",
        "counterfactual_accuracy_side": "told side",
        "counterfactual_accuracy_place_both": "told place both",
    }
    records = [record("igcl", f"{start}{end}", 0.5, "any") for start in starts for end in ("", "_blind")]
    text = format_overview(records)
    titles = [f"{title}{end}" for title in starts.values() for end in ("", " blind")]
    assert text.splitlines()[-2] == "  ".join(["method", *titles])
    assert "told side, ...: a report told from its counterfactual" in text


def test_fine_tuning_has_columns_of_its_own():
    tuned = [record("igcl", "auroc", 0.8, "fine_tune", fraction=0.01), RECORDS[0]]
    text = format_overview(tuned)
    assert text.splitlines()[-2:] == ["method  tuned 1 %  1 %", "igcl    0.800      0.700"]
    assert "tuned 1 %, ...: AUROC after fine-tuning on so many labels" in text
    assert "AUROC of probes" in text
    assert "AUROC of probes" not in format_overview(tuned[:1])


def test_a_cell_of_markdown_is_no_markup():
    table = as_markdown([["label", "value"], ["A|B <script>\n# x", "1"]])
    assert table == "| label | value |\n| --- | --- |\n| A\\|B &lt;script> # x | 1 |\n"
