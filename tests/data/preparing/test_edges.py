"""Preparation beside what is not its own, and of what is no image, no text or no store."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from igcl_lightning.data.preparing.earlier import NOTES, EarlierRows
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.preparing.unfinished import UnfinishedStore
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import Entity, ReportGraph
from stores import prepare_studies


def study(number, source=None, **fields):
    pixels = np.random.default_rng(number).integers(0, 256, (20, 30), dtype=np.uint8)
    image = StudyImage(f"i{number}", pixels if source is None else source)
    return Study(f"s{number}", f"p{number}", (image,), split="train", **fields)


STUDIES = [study(number) for number in range(6)]


def run(out, studies=STUDIES, **how):
    return prepare_studies(studies, out, options=Options(size=16), chunk=2, **how)


@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}, {"update": True}])
def test_a_folder_with_a_manifest_of_something_else_is_left_alone(tmp_path, how):
    out = tmp_path / "webapp"
    out.mkdir()
    (out / "manifest.json").write_text('{"name": "app"}')
    with pytest.raises(IgclError, match="webapp: exists and is not a store"):
        run(out, **how)
    assert (out / "manifest.json").read_text() == '{"name": "app"}'


@pytest.mark.parametrize("how", [{"overwrite": True}, {"resume": True}])
def test_a_partial_folder_of_somebody_else_is_left_alone(tmp_path, how):
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "thesis.txt").write_text("years of work")
    with pytest.raises(IgclError, match="store.partial: not left by an interrupted run; move it away"):
        run(tmp_path / "store", **how)
    assert (tmp_path / "store.partial" / "thesis.txt").exists()


def interrupt(out):
    """Leave two complete chunks."""

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(out, [*STUDIES[:4], stop])


def test_damaged_work_is_not_thrown_away(tmp_path):
    interrupt(tmp_path / "store")
    (tmp_path / "store.partial" / "work.json").write_text("{")
    with pytest.raises(IgclError, match="its work.json is missing or damaged; --overwrite starts over"):
        run(tmp_path / "store", resume=True)
    assert list((tmp_path / "store.partial" / NOTES).glob("*.json"))
    run(tmp_path / "store", overwrite=True)


def test_two_runs_do_not_work_in_one_place(tmp_path):
    with UnfinishedStore(tmp_path / "store", {}).open({}, resume=False):
        for how in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(IgclError, match="store.partial: another run is writing to it"):
                run(tmp_path / "store", **how)
        assert (tmp_path / "store.partial" / "work.json").exists()
    run(tmp_path / "store", overwrite=True)


def test_a_process_opens_the_earlier_store_once(tmp_path):
    sent = pickle.dumps(EarlierRows(tmp_path, node_text=False))
    assert pickle.loads(sent) is pickle.loads(sent)


@pytest.mark.parametrize("damage", ["notes", "rows", "manifest"])
def test_an_update_makes_anew_what_is_damaged(tmp_path, damage):
    out, anew = tmp_path / "store", tmp_path / "anew"
    run(out)
    files = {"notes": out / NOTES / "00001.json", "rows": out / "train" / "data-00000.arrow"}
    file = files.get(damage, out / "manifest.json")
    file.write_bytes(file.read_bytes()[:100])
    run(out, update=True)
    run(anew)
    assert (out / "manifest.json").read_bytes() == (anew / "manifest.json").read_bytes()
    assert Store(out).column("train", "row") == Store(anew).column("train", "row")


def test_a_link_to_a_store_stays_a_link(tmp_path):
    run(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run(tmp_path / "link", STUDIES[:2], overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert len(Store(tmp_path / "real").table("train")) == 2


def test_the_present_folder_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(IgclError, match="here: exists and is not a store"):
        run(Path("."))
    with pytest.raises(IgclError, match="--out /: name a folder"):
        run(Path("/"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    os.mkfifo(tmp_path / "x.txt")
    studies = [study(1, tmp_path / "x.png"), study(2, report=tmp_path / "x.txt")]
    manifest = run(tmp_path / "store", studies, allow_no_graphs=True)
    assert manifest["dropped"] == {"image not readable": 1}
    assert "x.png: not a regular file" in manifest["dropped_rows"][0]["detail"]
    assert manifest["rows_by_report"] == {"not readable": 1}


def test_a_name_that_is_no_text_costs_its_row(tmp_path):
    odd = study(1, tmp_path / os.fsdecode(b"bad\xff.png"))
    named = Study("s", "p", (StudyImage(os.fsdecode(b"bad\xff"), np.zeros((4, 4), np.uint8)),), split="train")
    manifest = run(tmp_path / "store", [odd, named, study(2)])
    assert manifest["rows"] == {"train": 1}
    assert manifest["dropped"] == {"image missing": 1, "name is not UTF-8": 1}
    assert manifest["dropped_rows"][1]["row"] == r"bad\udcff"
    assert json.loads((tmp_path / "store" / "manifest.json").read_text()) == manifest


def test_a_graph_without_a_text_is_kept_by_reparse(tmp_path):
    graph = ReportGraph("mass", (Entity("mass", "OBS-DP", 0, 0),))
    options = Options(size=16, reparse=True, on_missing_report="drop")
    studies = [study(1, graph=graph), study(2, graph=graph, report={"findings": "Small effusion."})]
    prepare_studies(studies, tmp_path / "store", options=options)
    tokens = [graph["tokens"] for graph in Store(tmp_path / "store").table("train")["graph"]]
    assert tokens == [["mass"], ["Small", "effusion"]]


def test_arrays_that_change_their_shape_while_the_work_rests_are_refused(tmp_path):
    studies = [study(number, arrays={"ecg": tmp_path / f"{number}.npy"}) for number in range(4)]
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.zeros(4))

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "store", [*studies, stop], arrays=["ecg"])
    np.save(tmp_path / "0.npy", np.zeros(7))
    np.save(tmp_path / "1.npy", np.zeros(7))
    with pytest.raises(IgclError, match=r"ecg has shape \[7\] in some rows and \[4\] in later ones; --overwrite"):
        run(tmp_path / "store", studies, arrays=["ecg"], resume=True)


def test_resume_replaces_what_is_finished_only_on_demand(tmp_path):
    run(tmp_path / "store")
    with pytest.raises(IgclError, match="was made with other inputs"):
        prepare_studies(STUDIES, tmp_path / "store", options=Options(size=8), chunk=2, resume=True)
    for how in ({"overwrite": True}, {"update": True}):
        manifest = prepare_studies(STUDIES, tmp_path / "store", options=Options(size=8), chunk=2, resume=True, **how)
        assert manifest["size"] == 8


COMMAND = [sys.executable, "-c", "import sys; from igcl_lightning.cli import main; sys.exit(main(sys.argv[1:]))"]


def start(out, jobs):
    words = ["prepare", "phantom", "--count", "20000", "--size", "64", "--jobs", str(jobs), "--out", str(out)]
    process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True)
    while not list(out.parent.glob("store.partial/train/*.tmp")):
        assert process.poll() is None
        time.sleep(0.1)
    return process


def test_an_interrupted_command_says_how_to_go_on(tmp_path):
    process = start(tmp_path / "store", jobs=1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said


@pytest.mark.soak
def test_a_worker_that_dies_ends_the_command_with_one_line(tmp_path):
    process = start(tmp_path / "store", jobs=2)
    while not list(tmp_path.glob("store.partial/notes/*.json")):
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(int(workers[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("igcl: error: --jobs: a worker process died")
    assert list(tmp_path.glob("store.partial/notes/*.json"))
