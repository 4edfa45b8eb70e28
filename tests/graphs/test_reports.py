import json

import pytest

from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.radgraph import from_radgraph
from igcl_lightning.graphs.reports import parse_reports


def write_lines(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_graphs_in_the_order_of_the_reports(tmp_path):
    texts = {"a": "No effusion.", "b": "", "ü": "Small left œdema-like opacity."}
    source = write_lines(
        tmp_path / "reports.jsonl", *(json.dumps({"id": i, "text": t, "age": 50}) for i, t in texts.items()), ""
    )

    count = parse_reports(source, tmp_path / "graphs.jsonl")

    records = [json.loads(line) for line in (tmp_path / "graphs.jsonl").read_text("utf-8").splitlines()]
    parser = SpacyReportParser()
    assert count == 3
    assert [record.pop("id") for record in records] == list(texts)
    assert [from_radgraph(record) for record in records] == [parser.parse(text) for text in texts.values()]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "reports.jsonl line 2: not JSON"),
        ('{"id": "b"}', 'reports.jsonl line 2: expected {"id": ..., "text": ...}'),
        ('["b", "text"]', 'reports.jsonl line 2: expected {"id": ..., "text": ...}'),
        ('{"id": "b", "text": null}', 'reports.jsonl line 2: "text" is no string'),
    ],
)
def test_bad_line_is_named_and_leaves_no_file(tmp_path, line, message):
    source = write_lines(tmp_path / "reports.jsonl", '{"id": "a", "text": "Edema."}', line)

    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared as a whole below
        parse_reports(source, tmp_path / "graphs.jsonl")

    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["reports.jsonl"]


def test_old_graphs_stay_when_the_work_fails(tmp_path):
    source = write_lines(tmp_path / "reports.jsonl", "nonsense")
    out = write_lines(tmp_path / "graphs.jsonl", "old")

    with pytest.raises(ValueError, match="line 1"):
        parse_reports(source, out)

    assert out.read_text() == "old\n"


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.jsonl: no such file"):
        parse_reports(tmp_path / "none.jsonl", tmp_path / "graphs.jsonl")
    source = write_lines(tmp_path / "reports.jsonl")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        parse_reports(source, tmp_path / "nowhere" / "graphs.jsonl")
