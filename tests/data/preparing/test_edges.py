"""Preparation beside what is not its own, and of what is no image, no text or no store."""

import errno
import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from igcl_lightning.data import prepare as preparing
from igcl_lightning.data.preparing.earlier import NOTES, EarlierRows
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.preparing.unfinished import UnfinishedStore
from igcl_lightning.data.regions import Box
from igcl_lightning.data.sources.source import Source
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


def test_a_run_that_another_has_just_finished_is_not_repeated(tmp_path, monkeypatch):
    survey = preparing.survey

    def slow_survey(*args, **options):
        monkeypatch.setattr(preparing, "survey", survey)
        run(tmp_path / "store")
        return survey(*args, **options)

    monkeypatch.setattr(preparing, "survey", slow_survey)
    with pytest.raises(IgclError, match="store: another run has just finished it; this one is not needed"):
        run(tmp_path / "store", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    ("named", "there"),
    [
        ("data/a.png", "data/images/a.png"),
        ("a.png", "data/images/a.png"),
        ("data/Images/a.png", "data/images/a.png"),
        ("data/C:/old/images/a.png", "data/images/a.png"),
        ("data/masks/a.png", "data/images/a.png"),
        ("data/images/a.dcm", "data/images/a.png"),
        ("data/iamges/b.png", "data/images"),
        ("data/zzz/q.png", None),
        ("/gone/machine/images/a.png", "data/images/a.png"),
    ],
)
def test_a_wrong_folder_is_one_line_with_what_is_near(tmp_path, named, there):
    for name in ("images/a.png", "masks/b.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    if "iamges" in named:
        (tmp_path / "data" / "masks" / "b.png").unlink()
    table = tmp_path / "data" / "rows.csv"
    table.touch()
    lost = [Study(f"{number}", None, (StudyImage(f"{number}", tmp_path / named),)) for number in range(3)]
    with pytest.raises(IgclError) as error:
        preparing.prepare(Source.of(lost, inputs=[table]), tmp_path / "store")
    advice = f"; there is {tmp_path / there}" if there else ""
    assert str(error.value) == (
        f"the source has no usable row: none of its 3 images exists, such as {tmp_path / named}{advice}; "
        "name their folder with --root or --images, or mend the paths in the table"
    )
    assert not list(tmp_path.glob("store*"))


def test_paths_from_the_current_folder_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "images").mkdir(parents=True)
    for name in ("data/rows.csv", "data/images/a.png"):
        (tmp_path / name).touch()
    lost = Study("1", None, (StudyImage("1", Path("data/data/images/a.png")),))
    with pytest.raises(IgclError, match=r"there is data/images/a.png; .* these to the current one: give --root \.$"):
        preparing.prepare(Source.of([lost], inputs=[Path("data/rows.csv")]), tmp_path / "store")
    gone = Study("1", None, (StudyImage("1", tmp_path / "x" / "gone.png"),))
    with pytest.raises(IgclError, match=r"name their folder with --root, or mend the paths in the table$"):
        preparing.prepare(Source.of([gone], "table"), tmp_path / "store")


def test_one_image_that_exists_is_enough(tmp_path):
    sources = [tmp_path / "gone.png"] * 3 + [np.zeros((9, 9), np.uint8)]
    some = [Study(f"{number}", None, (StudyImage(f"{number}", each),)) for number, each in enumerate(sources)]
    assert run(tmp_path / "store", some)["dropped"] == {"image missing": 3}


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
    pixels = StudyImage("i", np.zeros((4, 4), np.uint8))
    ids = [("s\ud800", "p"), ("t", "p\ud800"), ("t\udfff", None)]
    halves = [Study(*each, (replace(pixels, image_id=f"half{n}"),)) for n, each in enumerate(ids)]
    extra = Study("t", "p", (replace(pixels, source_view="AP\ud800"),), split="train", extra={"ward": "7\udfff"})
    manifest = run(tmp_path / "store", [odd, named, *halves, extra, study(2)], extra=("ward",))
    assert manifest["rows"] == {"train": 2}
    row = Store(tmp_path / "store").table("train")[0]
    assert (row["source_view"], row["ward"]) == ("AP?", "7?")
    assert manifest["dropped"] == {"image missing": 1, "id is not UTF-8": 4}
    assert manifest["dropped_rows"][1]["row"] == r"bad\udcff"
    assert json.loads((tmp_path / "store" / "manifest.json").read_text()) == manifest


@pytest.mark.parametrize("half", [{"flags": ("\ud800",)}, {"boxes": (Box("\udfff", 1, 1, 3, 3),)}])
def test_other_text_that_utf_8_cannot_hold_is_named(tmp_path, half):
    image = StudyImage("i", np.zeros((4, 4), np.uint8), **half)
    with pytest.raises(IgclError, match=r"a row from 'i' on has '.ud\w+', which UTF-8 cannot encode"):
        run(tmp_path / "store", [Study("s", "p", (image,), split="train")], boxes=True)
    with pytest.raises(IgclError, match=r"column '.ud800': UTF-8 cannot encode its name"):
        run(tmp_path / "other", labels=("\ud800",))


def test_a_given_graph_is_made_storable(tmp_path):
    graph = ReportGraph("No mass\ud800", (Entity("mass\ud800", "OBS-DA", 1, 1),))
    run(tmp_path / "store", [study(1, graph=graph)])
    assert Store(tmp_path / "store").table("train")["graph"][0]["text"] == "No mass?"


def fail_on(monkeypatch, numbers):
    """Let the files of these names fail with an error number, as a folder without permission or a broken disk does."""
    stat = Path.stat

    def failing(self, **how):
        if self.name in numbers:
            raise OSError(numbers[self.name], os.strerror(numbers[self.name]), str(self))
        return stat(self, **how)

    monkeypatch.setattr(Path, "stat", failing)


def test_an_odd_path_costs_its_row_and_no_more(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    fail_on(monkeypatch, {"denied.png": errno.EACCES, "disk.png": errno.EIO, "stale.png": errno.ESTALE})
    names = ["denied.png", "disk.png", "stale.png", "a\0b.png", "x" * 3000, "loop", "file/in.png", "two\nlines.png"]
    odd = [study(10 + number, tmp_path / name) for number, name in enumerate(names)]
    masked = StudyImage("masked", STUDIES[0].images[0].source, masks={"lung": tmp_path / "a\0b.png"})
    studies = [*odd, Study("s", "p", (masked,), split="train"), study(1)]
    manifest = run(tmp_path / "store", studies, masks=True)
    assert manifest["rows"] == {"train": 1}
    assert manifest["dropped"] == {"image missing": 2, "image not readable": 6, "mask not readable": 1}
    said = {drop["row"]: drop["detail"] for drop in manifest["dropped_rows"]}
    assert said["i10"].endswith("denied.png: cannot be read (permission denied)")
    assert said["i12"].endswith("stale.png: cannot be read (stale file handle)")
    assert said["i13"].endswith(r"a\x00b.png': cannot be read (embedded null byte)")
    assert said["i14"].endswith("xxx: cannot be read (file name too long)")
    assert len(said["i14"]) < 400
    assert said["i16"].endswith("file/in.png: no such file")
    assert all(text.isprintable() for text in said.values())
    assert run(tmp_path / "store", studies, masks=True, resume=True) == manifest


def npy(descr="'<f4'", shape="(4,)", body=bytes(64)):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def test_an_array_that_is_none_costs_its_row(tmp_path, monkeypatch):
    fail_on(monkeypatch, {"0.npy": errno.EIO})
    claims = {"shape": "(4000000000000,)"}, {"shape": f"({'(' * 300}1{')' * 300},)"}, {"shape": f"(4,{' ' * 20_000})"}
    kinds = [{"descr": kind} for kind in ("'<c8'", "'<U1'", "'|O'", "[('a', '<f4')]")]
    files = [b"", *(npy(**how) for how in (*claims, *kinds)), npy(body=b""), npy()]
    for number, content in enumerate(files):
        (tmp_path / f"{number}.npy").write_bytes(content)
    studies = [study(number, arrays={"ecg": tmp_path / f"{number}.npy"}) for number in range(len(files))]
    studies.append(study(20, arrays={"ecg": np.zeros(4, np.complex64)}))
    manifest = run(tmp_path / "store", studies, arrays=["ecg"])
    assert manifest["rows"] == {"train": 1}
    assert manifest["dropped"] == {"array not readable": 10}
    said = {drop["row"]: drop["detail"] for drop in manifest["dropped_rows"]}
    assert "1.npy: not a .npy file of numbers (its header claims [4000000000000] numbers" in said["i1"]
    assert "4.npy: holds complex64, not real numbers" in said["i4"]


def test_arrays_with_numbers_that_are_none_are_counted(tmp_path):
    arrays = [np.array([1.0, np.nan]), np.array([-np.inf, 2.0]), np.array([1e300, 1.0]), np.array([1, 2]), None]
    manifest = run(tmp_path / "store", [study(n, arrays={"ecg": a}) for n, a in enumerate(arrays)], arrays=["ecg"])
    assert manifest["rows"] == {"train": 5}
    assert manifest["flags"] == {"ecg: NaN or infinite numbers": 3}


def test_no_reason_names_a_memory_address(tmp_path, monkeypatch):
    """Two equal runs would leave different manifests."""

    def fail(*_):
        raise TypeError(f"cannot use {object()} and {io.BytesIO()}")

    monkeypatch.setattr("igcl_lightning.data.images.read_raster", fail)
    (tmp_path / "a.png").write_bytes(b"x")
    manifest = run(tmp_path / "store", [study(1, tmp_path / "a.png"), study(2)])
    assert "cannot use <object object> and" in manifest["dropped_rows"][0]["detail"]
    assert " 0x" not in json.dumps(manifest)


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
