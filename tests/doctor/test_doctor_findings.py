import json

from igcl_lightning.doctor.findings import Finding, Place, counted, number, percent, share, such_as, worst_first


def test_worst_comes_first_and_the_order_of_the_checks_stays():
    levels = ["ok", "warning", "error", "ok", "error"]
    findings = [Finding(level, f"check {place}", "x") for place, level in enumerate(levels)]
    assert [finding.check[-1] for finding in worst_first(findings)] == ["2", "4", "1", "0", "3"]
    assert counted(findings) == "2 errors, 1 warning, 2 ok"


def test_a_finding_is_one_line_whatever_a_store_says():
    finding = Finding("warning", "images", "two\nlines", (Place("train", 3, "a"),), {"n": 1})
    assert finding.line() == "warning      images        two lines"
    wrapped = Finding("not examined", "images", "many words " * 9).line(80).splitlines()
    assert [len(line) > 80 for line in wrapped] == [False, False]
    assert wrapped[1].startswith(" " * len("not examined images        ") + "words")
    record = {"level": "warning", "check": "images", "message": "two lines", "rows": [["train", "a"]]}
    assert json.loads(json.dumps(finding.record())) == record | {"numbers": {"n": 1}}


def test_few_of_many_rows_are_kept():
    assert len(Finding("ok", "x", "y", tuple(Place("train", n, str(n)) for n in range(1000))).rows) == 100


def test_counts_and_shares_read_well():
    assert (number(1, "row"), number(1200, "row")) == ("1 row", "1,200 rows")
    assert [percent(part, 1000) for part in (0, 1, 99, 100, 1000)] == ["0 %", "0.1 %", "9.9 %", "10 %", "100 %"]
    assert share(12, 3000) == "12 of 3,000 (0.4 %)"
    assert share(0, 0) == "0 of 0 (0 %)"
    assert such_as(["a", "b", "c", "d"]) == ", such as 'a', 'b', 'c'"
    assert such_as([]) == ""
