"""What is said before any image is opened, and when no report gives a graph."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from igcl_lightning.cli import main
from igcl_lightning.data.preparing import shards
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.preparing.shards import Shard
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import ReportGraph
from source_trees import write_image
from stores import prepare_studies

SPANISH = "Se observa derrame pleural izquierdo. Silueta cardiaca de tamaño normal. No hay neumotórax."


def study(name, report, graph=None, image=None):
    pixels = np.zeros((9, 9), np.uint8) if image is None else image
    return Study(name, f"p{name}", (StudyImage(name, pixels),), report=report, graph=graph, split="train")


def run(folder, studies, **how):
    options = Options(size=16, **how.pop("options", {}))
    return prepare_studies(studies, folder / "store", options=options, chunk=2, **how)


@pytest.fixture
def odd_paths(tmp_path):
    """Paths of reports that cannot be read, each for another reason."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = ("x" * 300 + ".txt", "nul\0byte.txt", "file/below.txt", "loop")
    return [*(tmp_path / name for name in names), tmp_path]


def test_a_path_that_cannot_be_read_costs_its_report(tmp_path, odd_paths):
    studies = [study(str(number), path) for number, path in enumerate(odd_paths)]
    manifest = run(tmp_path, [*studies, study("good", {"report": "Small effusion."})])
    assert manifest["rows_by_report"] == {"not readable": 5, "present": 1}
    assert manifest["rows"] == {"train": 6}
    assert run(tmp_path, [*studies, study("good", {"report": "Small effusion."})], resume=True) == manifest


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_costs_the_report(tmp_path, monkeypatch, number):
    bad, real = tmp_path / "bad.txt", Path.stat
    bad.write_text("Edema.")

    def stat(path, **how):
        if path == bad:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    manifest = run(
        tmp_path, [study("bad", bad), study("good", {"report": "Edema."})], options={"on_missing_report": "drop"}
    )
    assert manifest["dropped"] == {"report not readable": 1}
    assert os.strerror(number) in manifest["dropped_rows"][0]["detail"]


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        (
            [{"report": ""}, {"findings": " nan "}],
            r"no report gives a graph \(2 blank; the first: the report is empty\); ",
        ),
        (
            [{"report": SPANISH}, {"report": ""}],
            r"\(1 not English, 1 blank; .*\); --any-language parses them all the same; --allow-no-graphs makes",
        ),
        (
            [Path("gone.txt")],
            r"\(1 missing; the first: gone.txt: no such file\); name their folder with --reports; ",
        ),
    ],
)
def test_reports_that_give_no_graph_are_an_error_before_any_work(tmp_path, reports, said):
    studies = [study(str(number), report) for number, report in enumerate(reports)]
    with pytest.raises(IgclError, match=said):
        run(tmp_path, studies)
    assert not any(tmp_path.iterdir())
    manifest = run(tmp_path, studies, allow_no_graphs=True)
    assert manifest["rows_with_empty_graph"] == len(reports)


def test_reports_in_another_language_may_be_parsed(tmp_path):
    options = {"any_language": True}
    run(tmp_path, [study("1", {"report": f"{SPANISH} Pleural effusion."})], options=options)
    assert Store(tmp_path / "store").table("train")[0]["graph"]["tokens"]


def test_one_report_is_enough_and_a_data_set_without_reports_needs_none(tmp_path):
    run(tmp_path, [study("1", {"report": ""}), study("2", {"report": SPANISH}), study("3", {"report": "Edema."})])
    assert run(tmp_path / "other", [study("1", {}), study("2", {})])["rows_by_report"] == {"none": 2}


def test_words_without_entities_are_an_error_at_the_end_and_the_work_is_kept(tmp_path):
    studies = [study(str(number), {"report": "See the letter of the clinic."}) for number in range(3)]
    with pytest.raises(IgclError, match="none of the 3 rows has a graph with entities.* --resume --allow-no-graphs"):
        run(tmp_path, studies)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store.partial/train").glob("*.arrow")}
    assert len(kept) == 2
    run(tmp_path, studies, resume=True, allow_no_graphs=True)
    assert kept == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store/train").glob("*.arrow")}


def test_given_graphs_without_entities_are_an_error(tmp_path):
    with pytest.raises(IgclError, match="no report gives a graph .*2 graph without entities"):
        run(tmp_path, [study(name, {"report": "Edema."}, ReportGraph("Edema .", ())) for name in "ab"])


def test_shards_without_a_graph_are_not_merged_unless_it_is_asked_for(tmp_path):
    studies = [study(str(number), {"report": "See the letter of the clinic."}) for number in range(4)]
    for number in (1, 2):
        run(tmp_path, studies, shard=Shard(number, 2))
    with pytest.raises(IgclError, match="none of the 4 rows has a graph .* igcl merge --allow-no-graphs"):
        shards.merge(tmp_path / "store")
    assert main(["merge", str(tmp_path / "store"), "--allow-no-graphs"]) is None


def test_a_wrong_folder_of_images_is_said_before_each_of_them_is_missing(tmp_path, capsys):
    rows = "".join(f"{number}.png\n" for number in range(3))
    (tmp_path / "table.csv").write_text(f"file\n{rows}")
    words = ["prepare", "table", "--csv", str(tmp_path / "table.csv"), "--image-column", "file", "--size", "16"]
    words += ["--root", str(tmp_path / "wrong"), "--out", str(tmp_path / "store")]
    (tmp_path / "wrong").mkdir()
    assert main(words) == 1
    said = capsys.readouterr().err
    assert f"none of its 3 images exists, such as {tmp_path / 'wrong/0.png'}" in said
    assert "name their folder with --root" in said
    assert not (tmp_path / "store.partial").exists()
    write_image(tmp_path / "wrong/2.png")
    assert main(words) is None
    assert "  dropped: 2 image missing\n" in capsys.readouterr().out


def test_the_summary_counts_reports_and_graphs_at_a_glance(tmp_path, capsys):
    lines = ["file,note", "a.png,Edema.", "b.png,", f"c.png,{SPANISH}", "d.png,See the letter."]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    for name in "abcd":
        write_image(tmp_path / f"{name}.png")
    words = ["prepare", "table", "--csv", str(tmp_path / "table.csv"), "--image-column", "file", "--size", "16"]
    words += ["--out", str(tmp_path / "store")]
    assert main([*words, "--report-column", "note"]) is None
    said = capsys.readouterr().out.splitlines()
    assert said[1:3] == ["  reports: 3 found, 1 blank, 1 not English", "  graphs: 1 with entities, 3 without"]
    assert main([*words, "--overwrite"]) is None
    assert capsys.readouterr().out.splitlines()[1] == "  reports: none"
