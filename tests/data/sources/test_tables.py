import csv
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igcl_lightning.data.sources.rows import with_numbers
from igcl_lightning.data.sources.tables import find_file, read_columns, table_patterns
from igcl_lightning.errors import IgclError


def test_cells_are_stripped_texts_or_none(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffid, text ,n\n 007 ,NaN,1\n8, a b ,\n", encoding="utf-8")
    frame = read_columns(path, ["id", "text"], ["other"], others=True)
    assert frame.to_dict("records") == [
        {"id": "007", "text": None, "n": "1", "other": None},
        {"id": "8", "text": "a b", "n": None, "other": None},
    ]
    assert list(read_columns(path, ["id"])) == ["id"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_row_with_more_cells_than_the_header_is_named(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    content = b"id,text\n1,a\n2,b,c\n"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(IgclError, match=r"t.csv\S* row 3: 3 cells, the header has 2; put cells with a comma in"):
        read_columns(path, ["id"])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("others", [True, False])
def test_a_row_with_fewer_cells_than_the_header_is_named(tmp_path, suffix, others):
    path = tmp_path / f"t{suffix}"
    for content, place in ((b"id,a,a2\n1,x,y\n2,x\n", "row 3: 2"), (b"id,a,b\n1,x,y\n2", "row 3: 1")):
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
        with pytest.raises(IgclError, match=rf"t.csv\S* {place} cells, the header has 3; is the file cut off\?"):
            read_columns(path, ["id"], others=others)


def test_a_cell_of_several_lines_is_one_cell_and_blank_columns_do_no_harm(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('id,text,,\n1,"a,\n\nb",,\n2,c,,\n')
    assert read_columns(path, ["id"], others=True).to_dict("list") == {"id": ["1", "2"], "text": ["a,\n\nb", "c"]}


CELLS = st.text(st.sampled_from('ab ,"\n\r'), max_size=5)


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=6), blank=st.booleans())
def test_rows_are_those_of_the_csv_module(tmp_path_factory, rows, blank):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n\n" if blank else "\n")
        writer.writerows([("id", "n"), *rows])
    expected = [[cell.strip() or None for cell in row] for row in rows if any(map(str.strip, row))]
    assert read_columns(path, ["id", "n"]).to_numpy().tolist() == expected


def test_a_quoted_cell_may_follow_a_space(tmp_path):
    (tmp_path / "t.csv").write_text('id, text, n\n1, "a, b", 2\n')
    assert read_columns(tmp_path / "t.csv", ["id", "text", "n"]).to_dict("records") == [
        {"id": "1", "text": "a, b", "n": "2"}
    ]


def test_blank_lines_count_as_rows_of_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,n\n\n1,2\n  \n\n2,x\n\n")
    frame = read_columns(path, ["id", "n"])
    assert (frame["id"].tolist(), frame.index.tolist()) == (["1", "2"], [1, 4])
    with pytest.raises(IgclError, match="t.csv row 6, column 'n': 'x' is not a number"):
        with_numbers(path, frame, ["n"])


@pytest.mark.parametrize("header", ["id,Edema,Edema,n", "id,Edema,Edema ,n", "n,Edema,id, id"])
@pytest.mark.parametrize("others", [True, False])
def test_a_column_that_stands_there_twice_is_named(tmp_path, header, others):
    (tmp_path / "t.csv").write_text(f"{header}\n1,2,3,4\n")
    with pytest.raises(IgclError, match="t.csv: 2 columns are named '(Edema|id)'; keep one of them"):
        read_columns(tmp_path / "t.csv", ["id"], others=others)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a CSV file"),
        (b"\nid,b\n1,2\n", "not a CSV file .its first line is blank, but must name the columns"),
        (b'id,b\n1,"2\n3,4\n', "row 2: a cell of 2 lines whose quotation marks do not match"),
        (b"\xff\xfe\x00", "not a CSV file"),
        (b"a,b\n1,2\n", "no column 'id'; it has 'a', 'b'"),
    ],
)
def test_what_is_no_such_table_is_named(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(IgclError, match=f"t.csv:? {message}"):
        read_columns(path, ["id"])


@pytest.mark.parametrize("keep", [40, -20])
def test_a_damaged_gzip_file_is_named(tmp_path, keep):
    content = bytearray(gzip.compress(b"id,text\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(500))))
    if keep < 0:
        content = content[:keep]
    else:
        content[keep : keep + 60] = bytes(60)
    (tmp_path / "t.csv.gz").write_bytes(content)
    with pytest.raises(IgclError, match="t.csv.gz: not a CSV file"):
        read_columns(tmp_path / "t.csv.gz", ["id"])


def test_numbers_are_finite_or_blank(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,n\n1,2.5\n2,\n")
    assert with_numbers(path, read_columns(path, ["n"]), ["n"])["n"].fillna(-1).tolist() == [2.5, -1]
    for cell in ("x", "inf", "1e999"):
        path.write_text(f"id,n\n1,2.5\n2,{cell}\n")
        with pytest.raises(IgclError, match=f"t.csv row 3, column 'n': '{cell}' is not a number"):
            with_numbers(path, read_columns(path, ["n"]), ["n"])


def test_a_table_may_be_gzipped_or_one_folder_deeper():
    assert table_patterns("a.csv") == ["a.csv", "a.csv.gz", "*/a.csv", "*/a.csv.gz"]


def test_files_are_found_in_the_order_of_the_patterns(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    assert find_file(tmp_path, "a.csv", "*/a.csv", "b.csv", what="table").name == "a.csv"
    with pytest.raises(IgclError, match="no table of labels; looked for c.csv, d.csv"):
        find_file(tmp_path, "c.csv", "d.csv", what="table of labels")
    with pytest.raises(IgclError, match="--root .*gone: no such folder"):
        find_file(tmp_path / "gone", "c.csv", what="table")
