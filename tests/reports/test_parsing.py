import errno
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.sources.report_table import open_reports
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.radgraph import from_radgraph
from igcl_lightning.graphs.schema import Entity, ReportGraph
from igcl_lightning.reports import worker
from igcl_lightning.reports.parsing import CHUNK, Summary, parse_reports


class FirstWordParser:
    """The first word of a text is its only entity: quick, and found by other processes."""

    def __init__(self, version="first-1"):
        self.version = version

    def parse(self, text):
        words = text.split()
        return ReportGraph(" ".join(words), (Entity(words[0], "OBS-DP", 0, 0),) if words else ())

    def parse_many(self, texts):
        return map(self.parse, texts)


class DyingParser(FirstWordParser):
    """Ends its process at the word "die", as the system does where memory runs out."""

    def parse(self, text):
        if text == "die":
            os._exit(3)
        return super().parse(text)


class InterruptedParser(FirstWordParser):
    """Is interrupted after a number of reports."""

    def __init__(self, number):
        super().__init__()
        self.left = number

    def parse(self, text):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().parse(text)


def write_lines(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_reports(path, count):
    return write_lines(path, *(json.dumps({"id": n, "text": f"Made-up finding {n}."}) for n in range(count)))


def parse(path, out, *args, sections="both", **options):
    return parse_reports(open_reports(path, sections), out, *args, **options)


def interrupt(source, out, number):
    """Leave the unfinished file of a run that was interrupted after a number of reports."""
    with pytest.raises(KeyboardInterrupt):
        parse(source, out, InterruptedParser(number))
    assert not out.exists()
    return out.with_name(f".{out.name}.partial")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("jobs", [1, 2])
def test_graphs_in_the_order_of_the_reports(tmp_path, jobs):
    texts = {"a": "No effusion.", "b": "", "ü": "Small left œdema-like opacity."}
    source = write_lines(
        tmp_path / "reports.jsonl", *(json.dumps({"id": i, "text": t, "age": 50}) for i, t in texts.items()), ""
    )

    summary = parse(source, tmp_path / "graphs.jsonl", jobs=jobs)

    records = [json.loads(line) for line in (tmp_path / "graphs.jsonl").read_text("utf-8").splitlines()]
    parser = SpacyReportParser()
    assert summary == Summary(reports=3)
    assert [record.pop("id") for record in records] == list(texts)
    assert [from_radgraph(record).entities for record in records] == [parser.parse(t).entities for t in texts.values()]
    assert names(tmp_path) == ["graphs.jsonl", "reports.jsonl"]


def test_processes_give_the_same_bytes_as_one(tmp_path):
    source = write_reports(tmp_path / "reports.jsonl", 3 * CHUNK + 7)
    for jobs in (1, 2):
        parse(source, tmp_path / f"{jobs}.jsonl", FirstWordParser(), jobs=jobs)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert len((tmp_path / "1.jsonl").read_bytes().splitlines()) == 3 * CHUNK + 7


@pytest.mark.parametrize("jobs", [1, 2])
def test_bad_line_is_named_and_what_is_done_stays(tmp_path, jobs):
    good = [json.dumps({"id": n, "text": "Edema."}) for n in range(CHUNK + 3)]
    source = write_lines(tmp_path / "reports.jsonl", *good, '{"id": "b"}', "nonsense")

    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared as a whole below
        parse(source, tmp_path / "graphs.jsonl", FirstWordParser(), jobs=jobs)

    assert str(error.value).startswith(f'reports.jsonl line {CHUNK + 4}: expected {{"id": ..., "text": ...}}')
    assert "\n" not in str(error.value)
    assert names(tmp_path) == [".graphs.jsonl.partial", ".graphs.jsonl.partial.json", "reports.jsonl"]
    assert len((tmp_path / ".graphs.jsonl.partial").read_bytes().splitlines()) == CHUNK + 3


def test_old_graphs_stay_when_the_work_fails(tmp_path):
    source = write_lines(tmp_path / "reports.jsonl", "nonsense")
    out = write_lines(tmp_path / "graphs.jsonl", "old")

    with pytest.raises(ValueError, match="line 1"):
        parse(source, out, FirstWordParser(), overwrite=True)

    assert out.read_text() == "old\n"


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.jsonl: no such file"):
        parse(tmp_path / "none.jsonl", tmp_path / "graphs.jsonl")
    source = write_lines(tmp_path / "reports.jsonl")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        parse(source, tmp_path / "nowhere" / "graphs.jsonl")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        parse(source, tmp_path / "graphs.jsonl", page=tmp_path / "nowhere" / "page.html")


def test_what_would_fail_after_the_work_is_found_before_it(tmp_path):
    source = write_reports(tmp_path / "reports.jsonl", 1)
    with pytest.raises(IgclError, match="--jobs is 0, not at least 1"):
        parse(source, tmp_path / "graphs.jsonl", jobs=0)
    with pytest.raises(IgclError, match="--html-limit is -1, not at least 0"):
        parse(source, tmp_path / "graphs.jsonl", page=tmp_path / "p.html", page_limit=-1)
    with pytest.raises(IgclError, match="reports.jsonl: is the input file"):
        parse(source, source)
    with pytest.raises(IgclError, match="both.jsonl: is both --out and --html"):
        parse(source, tmp_path / "both.jsonl", page=tmp_path / "." / "both.jsonl")
    with pytest.raises(IgclError, match=f"{tmp_path.name}: is a folder"):
        parse(source, tmp_path)
    assert names(tmp_path) == ["reports.jsonl"]


def test_finished_files_are_replaced_on_demand_only(tmp_path, capsys):
    source = write_reports(tmp_path / "reports.jsonl", 1)
    command = ["graphs", str(source), "--out", str(tmp_path / "g.jsonl"), "--html", str(tmp_path / "g.html")]
    (tmp_path / "g.html").write_text("mine")
    assert main(command) == 1
    assert "g.html: exists already; choose another name, or give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "g.html").read_text() == "mine"
    (tmp_path / "g.html").rename(tmp_path / "g.jsonl")
    with pytest.raises(IgclError, match=r"g.jsonl: exists already"):
        parse(source, tmp_path / "g.jsonl", FirstWordParser())
    assert main([*command, "--overwrite", "--jobs", "1"]) in (0, None)
    assert json.loads((tmp_path / "g.jsonl").read_text())["id"] == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_reports_give_an_empty_file(tmp_path, jobs):
    source = write_lines(tmp_path / "reports.jsonl")
    assert parse(source, tmp_path / "graphs.jsonl", FirstWordParser(), jobs=jobs).reports == 0
    assert (tmp_path / "graphs.jsonl").read_bytes() == b""


def test_what_utf8_cannot_hold_becomes_a_question_mark(tmp_path):
    source = write_lines(tmp_path / "reports.jsonl", r'{"id": "a\ud800", "text": "Edema \udfff."}')
    parse(source, tmp_path / "graphs.jsonl", FirstWordParser())
    assert json.loads((tmp_path / "graphs.jsonl").read_text("utf-8"))["id"] == "a?"


@pytest.mark.parametrize("torn", ["", '{"id": 9', "x" * 3_000_000])
def test_an_interrupted_run_goes_on_after_the_last_complete_line(tmp_path, torn):
    source = write_reports(tmp_path / "reports.jsonl", 4 * CHUNK)
    parse(source, tmp_path / "whole.jsonl", FirstWordParser())
    partial = interrupt(source, tmp_path / "graphs.jsonl", 2 * CHUNK + 5)
    with partial.open("a") as file:
        file.write(torn)

    read = []
    parser = FirstWordParser()
    parser.parse_many = lambda texts: (read.append(text) or parser.parse(text) for text in texts)
    summary = parse(source, tmp_path / "graphs.jsonl", parser)

    assert summary == Summary(reports=4 * CHUNK, resumed=2 * CHUNK)
    assert len(read) == 2 * CHUNK
    assert (tmp_path / "graphs.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert names(tmp_path) == ["graphs.jsonl", "reports.jsonl", "whole.jsonl"]


def test_a_resumed_run_tells_of_all_reports(tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(CHUNK + 3):
        text = "Das Herz ist nicht größer." if number % 2 else "Café au lait."
        (tmp_path / "texts" / f"{number:03}.txt").write_bytes(text.encode("cp1252"))
    interrupt(tmp_path / "texts", tmp_path / "graphs.jsonl", CHUNK + 1)
    summary = parse(tmp_path / "texts", tmp_path / "graphs.jsonl", FirstWordParser())
    assert (summary.resumed, summary.foreign) == (CHUNK, CHUNK // 2 + 1)
    assert summary.encodings == {"Windows-1252": CHUNK + 3}


def test_lines_torn_inside_a_chunk_are_gone_on_with(tmp_path):
    source = write_reports(tmp_path / "reports.jsonl", 2 * CHUNK)
    parse(source, tmp_path / "whole.jsonl", FirstWordParser())
    partial = interrupt(source, tmp_path / "graphs.jsonl", CHUNK)
    partial.write_bytes(partial.read_bytes()[:-150])

    assert 0 < CHUNK - parse(source, tmp_path / "graphs.jsonl", FirstWordParser()).resumed < 5
    assert (tmp_path / "graphs.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("change", ["reports", "options", "parser", "no note"])
def test_other_work_starts_over_with_one_line(tmp_path, change):
    source = write_reports(tmp_path / "reports.jsonl", 2 * CHUNK)
    partial = interrupt(source, tmp_path / "graphs.jsonl", CHUNK)
    options = {"parser": FirstWordParser()}
    if change == "reports":
        write_reports(source, 2 * CHUNK + 1)
    elif change == "options":
        options["sections"] = "findings"
    elif change == "parser":
        options["parser"] = FirstWordParser("first-2")
    else:
        partial.with_name(f"{partial.name}.json").unlink()

    lines = []
    summary = parse(source, tmp_path / "graphs.jsonl", warn=lines.append, **options)

    assert summary.resumed == 0
    assert summary.reports == 2 * CHUNK + (change == "reports")
    assert [line.endswith("starting over") for line in lines] == [True]


KILLED = """
import multiprocessing, os, signal, sys
from pathlib import Path
sys.path.append(sys.argv[3])
from test_parsing import FirstWordParser, parse
from igcl_lightning.reports.partial_file import PartialFile

append, left = PartialFile.append, 2

def append_and_die(self, content):
    global left
    left -= 1
    append(self, content if left >= 0 else content[: len(content) // 2])
    if left < 0:
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

PartialFile.append = append_and_die
if __name__ == "__main__":
    parse(Path(sys.argv[1]), Path(sys.argv[2]), FirstWordParser(), jobs=2)
"""


def runs_still(process):
    """Tell whether a process is neither gone nor waiting to be collected."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for left processes in /proc")
def test_a_killed_run_leaves_no_process_and_goes_on_to_the_same_bytes(tmp_path):
    source = write_reports(tmp_path / "reports.jsonl", 6 * CHUNK)
    parse(source, tmp_path / "whole.jsonl", FirstWordParser())
    script = write_lines(tmp_path / "killed.py", KILLED)
    words = [sys.executable, script, source, tmp_path / "graphs.jsonl", Path(__file__).parent]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert killed.returncode < 0, killed.stderr
    assert not (tmp_path / "graphs.jsonl").exists()

    workers = killed.stdout.split()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(runs_still, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(runs_still, workers))

    summary = parse(source, tmp_path / "graphs.jsonl", FirstWordParser())

    assert 2 * CHUNK < summary.resumed < 3 * CHUNK
    assert (tmp_path / "graphs.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_worker_that_dies_is_one_line(tmp_path):
    texts = [*(["fine"] * (2 * CHUNK)), "die", *(["fine"] * CHUNK)]
    source = write_lines(tmp_path / "reports.jsonl", *(json.dumps({"id": n, "text": t}) for n, t in enumerate(texts)))
    with pytest.raises(IgclError, match="--jobs: a worker process died.*run the same command again") as error:
        parse(source, tmp_path / "graphs.jsonl", DyingParser(), jobs=2)
    assert "\n" not in str(error.value)
    assert ".graphs.jsonl.partial" in names(tmp_path)


def test_a_full_disk_is_one_line_and_keeps_what_is_done(tmp_path, monkeypatch):
    source = write_reports(tmp_path / "reports.jsonl", 3 * CHUNK)
    parse(source, tmp_path / "whole.jsonl", FirstWordParser())

    class FullDisk(io.FileIO):
        room = (tmp_path / "whole.jsonl").stat().st_size // 2

        def write(self, content):
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = super().write(content[: self.room])
            self.room -= written
            return written

    plain_open = Path.open

    def open_on_full_disk(path, mode="r", **how):
        return FullDisk(path, mode) if mode == "a+b" else plain_open(path, mode, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_full_disk)
        with pytest.raises(IgclError, match="graphs.jsonl.partial: no space left .*; finished work is kept") as e:
            parse(source, tmp_path / "graphs.jsonl", FirstWordParser())
    assert "\n" not in str(e.value)
    assert not (tmp_path / "graphs.jsonl").exists()

    assert parse(source, tmp_path / "graphs.jsonl", FirstWordParser()).resumed > CHUNK
    assert (tmp_path / "graphs.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_command_reads_sections_writes_a_page_and_counts_pointers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "s1.txt").write_text("FINDINGS: Edema.\nIMPRESSION: Nodule.")
    (folder / "s2.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    words = ["graphs", "files", "--out", "g.jsonl", "--sections", "impression", "--jobs", "1", "--html", "."]

    assert main(words) is None

    assert json.loads((tmp_path / "g.jsonl").read_text())["text"] == "Nodule ."
    assert "Nodule" in (tmp_path / "graphs.html").read_text()
    output = capsys.readouterr()
    assert output.out.startswith("1 reports -> g.jsonl\npage  graphs.html\nnext  igcl prepare table --csv ")
    assert "igcl: warning: files: 1 files left out, such as s2.txt: Git-LFS pointers" in output.err


def test_command_says_how_much_an_interrupted_run_had_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "default_parser", FirstWordParser)
    source = write_reports(tmp_path / "reports.jsonl", CHUNK + 1)
    interrupt(source, tmp_path / "g.jsonl", CHUNK)
    assert main(["graphs", "reports.jsonl", "--out", "g.jsonl", "--jobs", "1"]) is None
    said = capsys.readouterr().out.splitlines()[0]
    assert said == f"{CHUNK + 1} reports -> g.jsonl, {CHUNK} of them from an interrupted run"


@pytest.mark.data
@pytest.mark.skipif("IGCL_DATA" not in os.environ, reason="IGCL_DATA does not name the data folder")
def test_openi_gives_the_same_graphs_from_every_file(tmp_path):
    folder = Path(os.environ["IGCL_DATA"]) / "openi"
    graphs = {}
    for name in ("reports.jsonl", "NLMCXR_reports.tgz", "indiana_reports.csv"):
        parse(folder / name, tmp_path / name, FirstWordParser())
        records = map(json.loads, (tmp_path / name).read_text("utf-8").splitlines())
        graphs[name] = {record.pop("id").removeprefix("CXR"): record for record in records}
    lines, archive, table = graphs.values()
    assert len(lines) == 3184
    assert archive == lines
    assert table == {report: lines[report] for report in table}
    assert len(table) == 3080
