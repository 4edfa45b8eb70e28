import io
import json
import os
import tarfile

import pytest

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.preparing.report_text import read_report
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.sources import JsonLines, Report, open_source

OPENI = """\
<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="{id}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="INDICATION">Cough</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">{impression}</AbstractText>
</Abstract></Article></MedlineCitation></eCitation>
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


def reports(path, *options, **named):
    source = open_source(path, *options, **named)
    return [source.read(item) for item in source.items()]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
    return path


@pytest.mark.parametrize(
    ("record", "sections", "report"),
    [
        ({"id": 7, "text": "Clear."}, "both", Report(7, "Clear.")),
        ({"id": "a", "text": "FINDINGS: Clear. IMPRESSION: Fine."}, "impression", Report("a", "Fine.")),
        ({"uid": "a", "findings": "Clear.", "impression": "Fine."}, "both", Report("a", "Clear.\n\nFine.")),
        ({"uid": "a", "findings": None, "impression": "Fine."}, "both", Report("a", "Fine.")),
        ({"uid": "a", "findings": "", "impression": None}, "both", Report("a", "")),
        ({"id": "a", "findings": "", "text": "Whole."}, "both", Report("a", "Whole.")),
        ({"id": "a", "uid": "b", "text": ""}, "both", Report("a", "")),
    ],
)
def test_json_line(tmp_path, record, sections, report):
    assert reports(write(tmp_path / "r.jsonl", json.dumps(record)), sections) == [report]


def test_named_keys_of_json(tmp_path):
    path = write(tmp_path / "r.jsonl", '{"id": "no", "study": "a", "text": "No.", "body": "Yes."}\n')
    assert reports(path, id_column="study", text_column="body") == [Report("a", "Yes.")]


def test_blank_lines_and_a_byte_order_mark_are_no_reports(tmp_path):
    path = write(tmp_path / "r.jsonl", '\ufeff{"id": 1, "text": "a"}\r\n \n\n{"id": 2, "text": "b"}')
    assert [report.id for report in reports(path)] == [1, 2]
    assert open_source(path).survey().total == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "r.jsonl line 2: not JSON"),
        (b"[" * 100_000, "r.jsonl line 2: not JSON"),
        (b"\xff", "r.jsonl line 2: not UTF-8"),
        (b"[1]", "r.jsonl line 2: not a JSON object"),
        (b'{"id": 1}', 'r.jsonl line 2: expected {"id": ..., "text": ...}'),
        (b'{"text": "a"}', 'r.jsonl line 2: expected {"id": ..., "text": ...}'),
        (b'{"id": null, "text": "a"}', 'r.jsonl line 2: "id" is neither a string nor a whole number'),
        (b'{"id": true, "text": "a"}', 'r.jsonl line 2: "id" is neither a string nor a whole number'),
        (b'{"id": 1, "findings": 3}', 'r.jsonl line 2: "findings" is not a string'),
    ],
)
def test_bad_json_line_is_named(tmp_path, line, message):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared as a whole below
        reports(path)
    assert str(error.value).startswith(message)


def test_two_reports_of_one_id_are_named_before_the_work(tmp_path):
    lines = ["", '{"id": "a", "text": "Clear."}', "{", '{"id": "a", "text": "Fine."}']
    source = open_source(write(tmp_path / "r.jsonl", "\n".join(lines)))
    with pytest.raises(IgclError, match=r"r.jsonl line 4: id 'a' is that of line 2; keep one, or name another key"):
        source.survey()


def test_folder_of_texts(tmp_path):
    write(tmp_path / "p11/p1/s2.txt", "IMPRESSION: Fine.")
    write(tmp_path / "p10/p9/s3.txt", "FINAL REPORT\n FINDINGS: Clear.\n IMPRESSION: Fine.")
    write(tmp_path / "p10/p10/s1.txt", "Whole text.")
    write(tmp_path / "p10/p10/.s1.txt", "hidden")
    write(tmp_path / "LICENSE.txt", "no report")
    write(tmp_path / "index.html", "no report")
    assert reports(tmp_path) == [
        Report("p10/p10/s1.txt", "Whole text."),
        Report("p10/p9/s3.txt", "Clear.\n\nFine."),
        Report("p11/p1/s2.txt", "Fine."),
    ]
    assert open_source(tmp_path).survey().total == 3


def test_git_lfs_pointers_are_counted_and_left_out(tmp_path):
    for name in ("a", "c"):
        write(tmp_path / f"{name}.txt", POINTER)
    write(tmp_path / "b.txt", "Clear.")
    assert reports(tmp_path) == [Report("b.txt", "Clear.")]
    survey = open_source(tmp_path).survey()
    assert (survey.total, survey.pointers) == (1, ["a.txt", "c.txt"])


def test_a_pipe_among_the_texts_is_named(tmp_path):
    os.mkfifo(tmp_path / "s1.txt")
    with pytest.raises(IgclError, match="s1.txt: not a regular file"):
        reports(tmp_path)


def test_texts_in_other_encodings_are_read_as_prepare_reads_them(tmp_path):
    texts = {
        "cp1252": "Café, 5 µm.\r\nClear.",
        "utf-16": "Clear.\rNone.",
        "utf-16-le": "Mass.",
        "utf-8": "Épanchement\0.",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_bytes(text.encode(name))
    assert reports(tmp_path) == [
        Report("cp1252.txt", "Café, 5 µm.\nClear.", "Windows-1252"),
        Report("utf-16-le.txt", "Mass.", "UTF-16"),
        Report("utf-16.txt", "Clear.\nNone.", "UTF-16"),
        Report("utf-8.txt", "Épanchement\0."),
    ]
    assert read_report(tmp_path / "cp1252.txt", Options())[::3] == (
        {"report": "Café, 5 µm.\nClear."},
        "Windows-1252",
    )


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\xd8", b"\x89PNG\r\n\x1a\n\0\0", "Лёгкие чистые".encode("cp1251")])
def test_text_whose_encoding_is_unclear_is_named(tmp_path, content):
    (tmp_path / "s1.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"{tmp_path.name}/s1.txt: neither UTF-8 nor surely another encoding; save it"):
        reports(tmp_path)


def test_identity_of_a_folder_changes_with_its_files(tmp_path):
    write(tmp_path / "a.txt", "Clear.")
    before = open_source(tmp_path).survey().identity
    assert open_source(tmp_path).survey().identity == before
    write(tmp_path / "b.txt", "Clear.")
    assert open_source(tmp_path).survey().identity != before


def test_openi_folder_and_archive_give_the_same(tmp_path):
    files = {
        "ecgen/2.xml": OPENI.format(id="CXR2", findings="Clear &amp; dry.", impression="Fine."),
        "ecgen/1.xml": OPENI.format(id="CXR1", findings="", impression=""),
    }
    for name, content in files.items():
        write(tmp_path / "folder" / name, content)
    archive = write_archive(tmp_path / "r.tgz", {"ecgen/notes.md": "x", "ecgen/._1.xml": "x", **files})
    expected = [Report("CXR2", "Clear & dry.\n\nFine."), Report("CXR1", "")]
    assert reports(archive) == expected
    assert reports(tmp_path / "folder") == expected[::-1]
    assert reports(archive, "impression")[0] == Report("CXR2", "Fine.")


BOMB = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><eCitation><uId id="&c;"/></eCitation>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "declares the document type 'a'"),
        (f'<?xml version="1.0" encoding="utf-16"?>{BOMB}'.encode("utf-16"), "declares the document type 'a'"),
        (b"<eCitation>", "not XML"),
        (b"", "not XML"),
        (b"<eCitation/>", "no <uId id=...>"),
        (b'<?xml version="1.0" encoding="none-such"?><a/>', "unknown encoding"),
    ],
)
def test_xml_that_is_no_report_is_named(tmp_path, content, message):
    (tmp_path / "1.xml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{tmp_path.name}/1.xml: .*{message}"):
        reports(tmp_path)


def test_damaged_archive_is_named(tmp_path):
    members = {f"{n}.xml": OPENI.format(id=n, findings=str(n) * 999, impression="") for n in range(99)}
    content = write_archive(tmp_path / "r.tgz", members).read_bytes()
    (tmp_path / "r.tgz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"r.tgz: damaged archive"):
        reports(tmp_path / "r.tgz")


def test_sources_that_make_no_sense_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(IgclError, match=r"empty: contains no .txt and no .xml files"):
        open_source(tmp_path / "empty")
    for name in ("a.txt", "b.xml"):
        write(tmp_path / "mixed" / name, "x")
    with pytest.raises(IgclError, match=r"mixed: contains both .txt and .xml files"):
        open_source(tmp_path / "mixed")
    with pytest.raises(IgclError, match=r"r.tgz: not a tar archive"):
        open_source(write(tmp_path / "r.tgz", "x"))
    with pytest.raises(IgclError, match="--text-column: .*xml has no columns"):
        open_source(write(tmp_path / "xml" / "1.xml", "x").parent, text_column="a")
    with pytest.raises(IgclError, match="--sections 'all': expected one of both"):
        open_source(tmp_path, "all")
    with pytest.raises(FileNotFoundError, match="none: no such file"):
        open_source(tmp_path / "none")


def test_reports_are_read_as_a_stream(tmp_path):
    path = write(tmp_path / "r.jsonl", '{"id": 1, "text": "a"}\nnonsense\n')
    assert isinstance(open_source(path), JsonLines)
    items = open_source(path).items()
    assert next(items).where == 1
