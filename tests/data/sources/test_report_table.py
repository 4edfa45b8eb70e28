import gzip
import zipfile

import pandas as pd
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.sources.report_table import open_reports
from igcl_lightning.data.sources.table_files import TableForm
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.sources import JsonLines, Report

ROWS = [("007", "Clear, both\nsides."), ("12.0", "NA"), ("c", "Herz groß.")]
EXPECTED = [Report("007", "Clear, both\nsides."), Report("12", ""), Report("c", "Herz groß.")]


def reports(path, *options, **named):
    source = open_reports(path, *options, **named)
    source.survey()
    return [source.read(item) for item in source.items()]


def text(separator):
    return "".join(f'{key}{separator}"{report}"\n' for key, report in [("ID", "text"), *ROWS])


def test_tables_of_reports_are_read_as_prepare_reads_tables(tmp_path):
    for name, content in {
        "comma.csv": text(",").encode("utf-8-sig"),
        "german.csv": text(";").encode("cp1252"),
        "excel.txt": text("\t").encode("utf-16"),
        "packed.tsv.gz": gzip.compress(text("\t").encode()),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert reports(tmp_path / name) == EXPECTED, name
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.csv", text(","))
    pd.DataFrame(ROWS, columns=["uid", "text"]).to_parquet(tmp_path / "rows.parquet")
    assert reports(tmp_path / "rows.zip") == reports(tmp_path / "rows.parquet") == EXPECTED


def test_sections_and_named_columns(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text('uid,MeSH,findings,impression\n1,normal,"Clear,\nboth sides.",\n\n2,other,,Fine.\n')
    assert reports(path) == [Report("1", "Clear,\nboth sides."), Report("2", "Fine.")]
    assert reports(path, "findings") == [Report("1", "Clear,\nboth sides."), Report("2", "")]
    assert reports(path, id_column="MeSH", text_column="impression") == [Report("normal", ""), Report("other", "Fine.")]


def test_the_sheet_of_a_workbook_is_chosen(tmp_path, capsys):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for title in ("old", "new", "notes"):
        sheet = book.create_sheet(title)
        sheet.append(["id", "text"] if title != "notes" else ["x"])
        sheet.append([1, title])
    book.save(path := tmp_path / "r.xlsx")
    with pytest.raises(IgclError, match="r.xlsx: sheets 'old', 'new' have the columns; choose one with --sheet"):
        reports(path)
    assert reports(path, form=TableForm(sheet="new")) == [Report("1", "new")]
    assert capsys.readouterr().err == ""
    with pytest.raises(IgclError, match="--sheet: .*r.xlsx has no sheet 'nwe', only .*, did you mean new?"):
        reports(path, form=TableForm(sheet="nwe"))


def test_a_report_that_is_repeated_is_read_once(tmp_path, capsys):
    path = tmp_path / "r.csv"
    path.write_text("id,image,text\n1,a.png,Clear.\n1.0,b.png,Clear.\n2,c.png,Fine.\n")
    assert reports(path) == [Report("1", "Clear."), Report("2", "Fine.")]
    assert "1 rows repeat id and report of an earlier row, which is read once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "named", "message"),
    [
        ("a,text\n", {}, "no column 'id' or 'uid'; --id-column names another; it has 'a', 'text'$"),
        ("id,txt\n", {}, "'impression'; --text-column names another; it has 'id', 'txt', did you mean txt"),
        ("id,text\n", {"text_column": "body"}, "no column 'body'; it has 'id', 'text'"),
        ("", {}, "its first line is blank"),
        ("id,text\na,b\nc\n", {}, "row 3: 1 cells, the header has 2"),
        ("id,text\na,Clear, no effusion\n", {}, "row 2: 3 cells, the header has 2; put cells with a comma in quotes"),
        ("id,text\na,Clear.\nNA,Fine.\n", {}, "row 3: column 'id' is empty, or NA or -"),
        ("id,text\na,Clear.\n\na,Fine.\n", {}, "row 4: id 'a' has another report in row 2; keep one"),
        ('id,text\n1,Fine.\n2,"Clear.\n3,"Large heart."\n', {}, "row 3: a cell of 2 lines whose quotation marks do"),
        ('id,text\n1,Fine.\n2,"Clear.\n3,Fine.\n4,Fine.\n', {}, "row 3: a cell of 3 lines whose quotation marks do"),
        ("id,text\n1.2E+11,Fine.\n", {}, "row 2, column 'id': '1.2E\\+11' has lost digits"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_before_the_work(tmp_path, content, named, message):
    (path := tmp_path / "r.csv").write_text(content)
    with pytest.raises(IgclError, match=message):
        open_reports(path, **named).survey()


@pytest.mark.parametrize("content", ["FINDINGS: Heart, lungs normal.\n\nClear.\n", "No effusion.\n", "\n REPORT\n", ""])
def test_a_text_that_is_one_report_is_refused_with_advice(tmp_path, content):
    (path := tmp_path / "r.txt").write_text(content)
    with pytest.raises(IgclError, match=r"r.txt: .*; if it is the text of one report, give its folder"):
        open_reports(path).survey()
    path.write_text("id\ttext\n1\tClear.\n")
    assert reports(path) == [Report("1", "Clear.")]


def test_a_long_cell_is_read(tmp_path):
    (path := tmp_path / "r.csv").write_text(f"id,text\na,{'x' * 200_000}\n")
    assert [len(report.text) for report in reports(path)] == [200_000]


def test_the_command_reads_a_table_in_processes_and_names_it_for_prepare(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = "".join(f"{number};No effusion {number}.\n" for number in range(300))
    (tmp_path / "r.tsv").write_bytes(f"uid;text\n{lines}".encode("utf-16"))
    assert main(["graphs", "r.tsv", "--out", "g.jsonl", "--jobs", "1"]) in (0, None)
    said = capsys.readouterr()
    assert said.out.startswith("300 reports -> g.jsonl\nnext  igcl prepare table --csv r.tsv ")
    assert "read as UTF-16, semicolons between cells" in said.err
    (tmp_path / "r.jsonl").write_text("")
    assert isinstance(open_reports(tmp_path / "r.jsonl"), JsonLines)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes("Ödem.".encode("cp1252"))
    assert main(["graphs", "texts", "--out", "t.jsonl", "--jobs", "1"]) in (0, None)
    assert "texts: 1 file read as Windows-1252" in capsys.readouterr().err
    for form in (TableForm(encoding="utf-8"), TableForm(sheet="a")):
        with pytest.raises(IgclError, match=r"r.jsonl is no table"):
            open_reports(tmp_path / "r.jsonl", form=form)
