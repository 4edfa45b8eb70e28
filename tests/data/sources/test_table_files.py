import bz2
import gzip
import lzma
import sys
import zipfile
from itertools import product

import pandas as pd
import pytest

from igcl_lightning.closing import QUIET
from igcl_lightning.data.sources import packed
from igcl_lightning.data.sources.table_files import TableForm
from igcl_lightning.data.sources.tables import read_columns, read_json_lines
from igcl_lightning.errors import IgclError

ROWS = [("é 1.png", "Small effusion, left; clear", "1"), ("b|c.png", "two\nlines", "0"), ("d.png", None, None)]
NAMES = ("file", "text", "Edema")


def content(separator=",", end="\n"):
    quoted = [[f'"{cell}"' if cell and not cell.isdigit() else cell or "" for cell in row] for row in ROWS]
    return end.join(separator.join(row) for row in [NAMES, *quoted]) + end


def read(path, **options):
    return [tuple(row) for row in read_columns(path, NAMES, **options)[[*NAMES]].to_numpy().tolist()]


@pytest.mark.parametrize(
    ("separator", "encoding", "end"),
    [
        *product(",;\t|", ["utf-8", "cp1252", "utf-16"], ["\n"]),
        *product(",;", ["utf-8-sig", "utf-16-le", "utf-16-be"], ["\r\n"]),
    ],
)
def test_separators_and_encodings_are_recognised_and_named(tmp_path, capsys, separator, encoding, end):
    path = tmp_path / "rows.txt"
    path.write_bytes(content(separator, end).encode(encoding))
    assert read(path) == ROWS
    said = capsys.readouterr().err
    separators = {";": "semicolons between cells", "\t": "tabs between cells", "|": "vertical bars between cells"}
    assert all((text in said) == (mark == separator) for mark, text in separators.items())
    assert ("Windows-1252" in said) == (encoding == "cp1252")
    assert ("UTF-16" in said) == encoding.startswith("utf-16")
    assert said.count("\n") == (said != "")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, None], ids=["gzip", "bzip2", "xz", "zip"])
def test_packed_tables_are_recognised_by_their_content(tmp_path, pack):
    path = tmp_path / "rows.csv"
    if pack is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data/rows.csv", content())
            archive.writestr("__MACOSX/data/._rows.csv", b"\0")
    else:
        path.write_bytes(pack(content().encode()))
    assert read(path) == ROWS
    lines = tmp_path / "rows.jsonl"
    lines.write_bytes(gzip.compress(b'{"FILE": "a.png"}\n'))
    assert read_json_lines(lines, ["file"])["file"].tolist() == ["a.png"]


def test_the_first_line_that_excel_writes_names_the_separator(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\r\nid;n\r\n1;2\r\n\r\n3;x;\r\n")
    with pytest.raises(IgclError, match="t.csv row 5: 3 cells, the header has 2; put cells with ';' in quotes"):
        read_columns(tmp_path / "t.csv", ["id"])
    (tmp_path / "t.csv").write_text("sep=;\r\nid;n\r\n1;2\r\n;\r\n3;x\r\n")
    frame = read_columns(tmp_path / "t.csv", ["id"], others=True)
    assert (frame.to_numpy().tolist(), frame.index.tolist()) == ([["1", "2"], ["3", "x"]], [1, 3])


@pytest.mark.parametrize("name", ["rows.parquet", "rows.xlsx"])
def test_typed_tables_are_texts(tmp_path, name):
    frame = pd.DataFrame(
        {" File": ["a", "b", "c"], "n": [12, None, 1.5], "yes": [True, False, None], "whole": [1, 2, 3]}
    )
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
        frame.to_excel(tmp_path / name, index=False)
    else:
        frame.to_parquet(tmp_path / name)
    read = read_columns(tmp_path / name, ["file", "n", "yes", "whole"])
    whole = [["a", "12.0", "1", "1"], ["b", None, "0", "2"], ["c", "1.5", None, "3"]]
    assert [[str(cell).replace("12.0", "12") for cell in row] for row in read.to_numpy()] == [
        [str(cell).replace("12.0", "12") for cell in row] for row in whole
    ]
    first = 2 if name.endswith("xlsx") else 1
    assert (read.index + 2).tolist() == [first, first + 1, first + 2]
    with pytest.raises(IgclError, match=f"{name}: no column 'gone'; it has 'File', 'n', 'yes', 'whole'"):
        read_columns(tmp_path / name, ["gone"])


def test_a_workbook_is_read_at_the_sheet_with_the_columns(tmp_path, capsys):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["notes"])
    for title in ("rows", "more"):
        sheet = book.create_sheet(title)
        for row in (["file", "n"], ["a.png", 7], [None, None], ["b.png", "=1/0"], ["c.png"]):
            sheet.append(row)
        book.save(tmp_path / f"{title}.xlsx")
    frame = read_columns(tmp_path / "rows.xlsx", ["file", "n"])
    assert (frame["file"].tolist(), frame["n"].tolist()) == (["a.png", "b.png", "c.png"], ["7", None, None])
    assert (frame.index + 2).tolist() == [2, 4, 5]
    assert "sheet 'rows' is read" in capsys.readouterr().err
    with pytest.raises(IgclError, match="more.xlsx: sheets 'rows', 'more' have the columns; choose one with --sheet"):
        read_columns(tmp_path / "more.xlsx", ["file"])


def test_a_workbook_needs_an_optional_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    with pytest.raises(IgclError, match=r't.xlsx: needs python -m pip install ".\[xlsx\]"; or save the sheet as .csv'):
        read_columns(tmp_path / "t.xlsx", ["file"])


def test_columns_are_found_in_any_case_and_this_is_said(tmp_path, capsys, monkeypatch):
    (tmp_path / "t.csv").write_text("FILE,Patient,note,Note\na,b,c,d\n")
    assert read_columns(tmp_path / "t.csv", ["file", "note"], ["PATIENT", "age"]).to_dict("records") == [
        {"file": "a", "PATIENT": "b", "note": "c", "age": None}
    ]
    said = "column 'FILE' is taken for 'file', column 'Patient' is taken for 'PATIENT'"
    assert capsys.readouterr().err == f"igcl: note: {tmp_path / 't.csv'}: {said}\n"
    with pytest.raises(IgclError, match="t.csv: no column 'NOTE', but 'note' and 'Note'; name one"):
        read_columns(tmp_path / "t.csv", ["NOTE"])
    with pytest.raises(IgclError, match="t.csv: no column 'patients'; it has .*, did you mean Patient?"):
        read_columns(tmp_path / "t.csv", ["patients"])
    (tmp_path / "c.csv").write_text('file,"Effusion, left"\na,1\n')
    with pytest.raises(
        IgclError, match="c.csv: no column 'left'; it has .*; write it as '\"Effusion, left\"', since it"
    ):
        read_columns(tmp_path / "c.csv", ["left"])
    monkeypatch.setenv(QUIET, "1")
    read_columns(tmp_path / "t.csv", ["file"])
    assert capsys.readouterr().err == ""


CYRILLIC = "Пациент без изменений"


@pytest.mark.parametrize("block", [2, 2**20])
def test_an_encoding_that_is_unclear_is_named_by_an_option(tmp_path, monkeypatch, block):
    monkeypatch.setattr(packed, "_BLOCK", block)
    path = tmp_path / "t.csv"
    path.write_bytes(f"file,text\na.png,{CYRILLIC}\n".encode("cp1251"))
    with pytest.raises(IgclError, match="t.csv: its encoding is unclear .neither .*; name it with --encoding, or save"):
        read_columns(path, ["file"])
    assert read_columns(path, ["text"], form=TableForm("cp1251"))["text"].tolist() == [CYRILLIC]
    path.write_bytes("file,text\na.png,é\n".encode() + "b.png,é\n".encode("cp1252"))
    with pytest.raises(IgclError, match="t.csv: its encoding is unclear .mostly UTF-8"):
        read_columns(path, ["file"])
    with pytest.raises(IgclError, match="--encoding: unknown encoding 'latin-99', such as"):
        read_columns(path, ["file"], form=TableForm("latin-99"))
    with pytest.raises(IgclError, match="t.csv: not a CSV file in the encoding ascii; leave --encoding out, or"):
        read_columns(path, ["file"], form=TableForm("ascii"))
    path.write_bytes(b"file,text\na.png,\xe9\n")
    with pytest.raises(IgclError, match="in the encoding utf-8; leave"):
        read_columns(path, ["file"], form=TableForm("utf-8"))
    for content in (b"PK", b"PK\3\4 cut off"):
        path.write_bytes(content)
        with pytest.raises(IgclError, match="t.csv: a damaged workbook of Excel or zip archive; copy or save it again"):
            read_columns(path, ["file"])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0", "not a CSV file .it has zero bytes"),
        ("t.csv", b"\xff\xd8\xff\xe0\x01JFIF", "not a CSV file .it is no text"),
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\n", "a Git-LFS pointer in place of a table; fetch it"),
        ("t.json", b'[\n{"file": "a.png"}]', "JSON, not a table; write an object per line, in a file that ends in"),
        (
            "t.xls",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "a workbook of an old Excel, or one with a password; save it as",
        ),
        ("t.parquet", b"PAR1" + bytes(60), "not a CSV file"),
        ("t.zip", b"PK\x03\x04" + bytes(60), "a damaged workbook of Excel or zip archive; copy or save"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(IgclError, match=f"{name}: {message}") as error:
        read_columns(tmp_path / name, ["file"])
    assert "\n" not in str(error.value)


def test_an_archive_holds_one_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.csv", content())
        archive.writestr("b.csv", content())
    with pytest.raises(IgclError, match="t.zip: holds 2 files instead of one table; unpack it and give the table"):
        read(tmp_path / "t.zip")
    with pytest.raises(IgclError, match="a folder, not a table"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["csv.gz", "jsonl.gz", "zip", "parquet"])
def test_a_file_that_expands_without_end_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(packed, "MOST_UNPACKED", 2**20)
    path, rows = tmp_path / f"t.{kind}", b"file\n" + b"a.png\n" * 2**19
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", rows)
    elif kind == "parquet":
        pd.DataFrame({"file": ["a.png"] * 2**21}).to_parquet(path)
    else:
        path.write_bytes(gzip.compress(rows if kind == "csv.gz" else b'{"file": "a.png"}\n' * 2**18))
    with pytest.raises(IgclError, match=rf"t.{kind}: more than 50 times its size when unpacked"):
        read_json_lines(path, ["file"]) if kind == "jsonl.gz" else read_columns(path, ["file"])


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MOST_LINE", 2**21)
    (tmp_path / "t.csv").write_bytes(b"file\n" + b"a" * 2**22)
    with pytest.raises(IgclError, match="t.csv: not a table .a line of more than 2 MB"):
        read_columns(tmp_path / "t.csv", ["file"])
