import gzip

import pytest

from igcl_lightning.data.sources.tables import find_file, numbers, read_columns, sex_name
from igcl_lightning.errors import IgclError


def test_cells_are_stripped_texts_or_none(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffid, text ,n\n 007 ,NaN,1\n8, a b ,\n", encoding="utf-8")
    frame = read_columns(path, ["id", "text"], ["other"])
    assert frame.to_dict("records") == [
        {"id": "007", "text": None, "n": "1", "other": None},
        {"id": "8", "text": "a b", "n": None, "other": None},
    ]
    assert list(read_columns(path, ["id"], others=False)) == ["id"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_row_with_more_cells_than_the_header_is_named(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    content = b"id,text\n1,a\n2,b,c\n"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(IgclError, match=r"t.csv\S* row 3: 3 cells, the header has 2; put cells that hold a comma in"):
        read_columns(path, ["id"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a CSV file"),
        (b"\xff\xfe\x00", "not a CSV file"),
        (b"a,b\n1,2\n", "no column 'id'; it has 'a', 'b'"),
        (b"id,id\n1,2\n", None),
    ],
)
def test_what_is_no_such_table_is_named(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    if message is None:
        assert read_columns(path, ["id"])["id"].tolist() == ["1"]
        return
    with pytest.raises(IgclError, match=f"t.csv: {message}"):
        read_columns(path, ["id"])


def test_numbers_are_finite_or_blank(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,n\n1,2.5\n2,\n")
    assert numbers(path, read_columns(path, ["id"]), "n") == [2.5, None]
    for cell in ("x", "inf", "1e999"):
        path.write_text(f"id,n\n1,2.5\n2,{cell}\n")
        with pytest.raises(IgclError, match=f"t.csv row 3, column 'n': '{cell}' is not a number"):
            numbers(path, read_columns(path, ["id"]), "n")


def test_files_are_found_in_the_order_of_the_patterns(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    assert find_file(tmp_path, "a.csv", "*/a.csv", "b.csv", what="table").name == "a.csv"
    with pytest.raises(IgclError, match="no table of labels; looked for c.csv, d.csv"):
        find_file(tmp_path, "c.csv", "d.csv", what="table of labels")
    with pytest.raises(IgclError, match="--root .*gone: no such folder"):
        find_file(tmp_path / "gone", "c.csv", what="table")


def test_words_for_a_sex():
    assert [sex_name(word) for word in ("F", "female", "M", "male", "O", "", None)] == [
        "F",
        "F",
        "M",
        "M",
        None,
        None,
        None,
    ]
