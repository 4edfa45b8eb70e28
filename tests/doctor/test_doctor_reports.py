from collections import Counter
from itertools import product

from broken_stores import change_row, said, study, write_store

from igcl_lightning.data.store import Store
from igcl_lightning.data.study import REPORT_SECTIONS
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.report_checks import check_graphs, check_reports, graph_keys, graph_sizes
from igcl_lightning.doctor.store_checks import check_splits
from igcl_lightning.graphs.parser import SpacyReportParser

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"


def report(**sections):
    return dict.fromkeys(REPORT_SECTIONS) | sections


def test_reports_that_are_pointers_or_nan_are_errors_and_named(store):
    change_row(store, "train", 1, report=report(report=POINTER))
    change_row(store, "train", 2, report=report(findings="NaN"))
    change_row(store, "valid", 0, report=report(findings=" none ", impression=" "))
    findings = list(check_reports(OpenedStore(store)))
    assert said(findings, "error") == [
        "1 report replaced by a Git-LFS pointer, such as 'row-1'; run git lfs pull and prepare again",
        '2 reports that read "nan" or the like; empty those cells and prepare again',
    ]
    assert [place.row for place in findings[1].rows] == ["row-2", "row-4"]


def test_empty_reports_are_counted_by_split(store):
    change_row(store, "train", 0, report=report(findings="  \n", impression=""))
    change_row(store, "train", 1, report=report())
    change_row(store, "test", 1, report=report())
    findings = list(check_reports(OpenedStore(store)))
    assert "empty: train 2 of 8 (25 %), valid 0 of 2 (0 %), test 1 of 2 (50 %)" in said(findings, "ok")
    assert said(findings, "error") == []


def test_identical_reports_are_counted_over_studies_as_a_loop_counts_them(tmp_path):
    texts = ["Edema.", "Edema.", "Clear lungs.", "Edema.", "", "", "Clear lungs.", "No effusion."]
    studies = [study(n, report={"findings": text}) for n, text in enumerate(texts)]
    path = write_store(tmp_path / "store", studies)
    finding = next(finding for finding in check_reports(OpenedStore(path)) if "identical" in finding.numbers)
    written = Counter(text for text in texts if text)
    assert finding.numbers == {"identical": sum(n for n in written.values() if n > 1), "studies": sum(written.values())}
    assert "5 of 6 (83 %) studies share their whole text with another study" in finding.message


def test_images_of_one_study_do_not_share_a_report_with_another(tmp_path):
    one = study(0)
    two = tuple(image for other in (study(20), study(21)) for image in other.images)
    path = write_store(tmp_path / "store", [study(0, images=two), study(1, patient_id=one.patient_id)])
    assert "0 of 2 (0 %) studies share" in "".join(said(check_reports(OpenedStore(path))))


def test_graphs_without_entities_are_counted_by_split(phantom_store):
    opened = OpenedStore(phantom_store)
    finding = next(iter(check_graphs(opened)))
    rows_of = {split: Store(phantom_store).table(split).with_format("arrow")[:].to_pylist() for split in opened.tables}
    expected = {split: sum(not row["graph"]["label"] for row in rows) for split, rows in rows_of.items()}
    assert finding.numbers == expected
    assert sum(expected.values()) > 0
    assert finding.level == "ok"
    graphs = [row["graph"] for rows in rows_of.values() for row in rows]
    assert graph_sizes(opened).tolist() == [len(graph["tokens"]) for graph in graphs]
    assert graph_keys(opened).tolist() == [graph["key"] for graph in graphs]


def test_rows_with_labels_only_are_a_warning_with_their_number(tmp_path):
    texts = ["Small effusion."] * 80 + [""] * 80
    studies = [study(n, report={"findings": text}, split="train") for n, text in enumerate(texts)]
    path = write_store(tmp_path / "store", studies)
    (message,) = said(check_graphs(OpenedStore(path)), "warning")[:1]
    assert message.startswith("without entities: train 80 of 160 (50 %); pretraining with graphs leaves these rows out")


def test_a_store_without_reports_says_what_it_is_good_for(tmp_path):
    opened = OpenedStore(write_store(tmp_path / "store", [study(number, report={}) for number in range(6)]))
    assert said(check_reports(opened), "ok") == ["none: only methods without reports can be trained"]
    assert list(check_graphs(opened)) == []


def test_new_images_lack_nothing(tmp_path):
    rows = [study(number, report={}, labels={}, split="train") for number in range(6)]
    opened = OpenedStore(write_store(tmp_path / "store", rows, labels=()))
    (finding,) = check_splits(opened)
    use = "neither reports nor labels: for igcl predict, or pretraining on images alone"
    assert (finding.level, finding.message) == ("ok", f"rows 6 train (100 %); {use}")
    labelled = OpenedStore(write_store(tmp_path / "labelled", [study(1, report={}, split="train")]))
    assert [finding.level for finding in check_splits(labelled)] == ["warning", "warning", "ok"]


def test_the_largest_groups_of_one_meaning_are_counted(tmp_path):
    texts = ["No edema.", "There is no edema.", "Small effusion.", "Rib fracture.", "No edema.", ""]
    studies = [study(n, report={"findings": text}, split="train") for n, text in enumerate(texts)]
    opened = OpenedStore(write_store(tmp_path / "store", studies))
    keys = Counter(key for key in graph_keys(opened).tolist() if key != -1)
    finding = next(finding for finding in check_graphs(opened) if finding.check == "graph keys")
    assert finding.numbers == {"meanings": 3, "alike": 3, "largest": sorted(keys.values(), reverse=True)}
    assert finding.numbers["largest"] == [3, 1, 1]


def test_one_meaning_of_a_large_share_is_a_warning(tmp_path):
    places = product(
        ("Right", "Left"), ("upper", "lower"), ("mass", "nodule", "opacity", "cyst", "scar"), ("Small", "Large")
    )
    texts = ["No edema."] * 20 + [f"{size} {side} {part} lobe {what}." for side, part, what, size in places]
    studies = [study(n, report={"findings": text}) for n, text in enumerate(texts)]
    path = write_store(tmp_path / "store", studies)
    assert "(33 % in one)" in said(check_graphs(OpenedStore(path)), "warning")[0]


def test_a_graph_without_a_text_counts_as_a_report(tmp_path):
    graph = SpacyReportParser().parse("Edema.")
    rows = [study(number, report={}, graph=graph, labels={}, split="train") for number in range(6)]
    opened = OpenedStore(write_store(tmp_path / "store", rows, labels=()))
    assert set(opened.manifest["rows_by_report"]) == {"none"}
    assert (opened.has_reports, opened.is_new) == (True, False)
