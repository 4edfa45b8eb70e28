"""Preparation that is stopped at any moment, and gone on with."""

import errno
import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing import unfinished
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.store import Store, graph_columns
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError

fork = multiprocessing.get_context("fork")
NUMBER, CHUNK = 40, 6


def make_tree(root, number=NUMBER):
    """Write images and reports; one image is broken, one missing, one report empty."""
    root.mkdir(exist_ok=True)
    for index in range(number):
        pixels = np.random.default_rng(index).integers(0, 256, (90, 70), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{index}.jpg")
        (root / f"{index}.txt").write_text("" if index == 4 else f"FINDINGS: Effusion. Opacity {index}.")
    (root / "7.jpg").write_bytes(b"\xff\xd8 broken")
    (root / "9.jpg").unlink()
    return root


def source_of(root, number=NUMBER):
    def studies():
        for index in range(number):
            image = StudyImage(f"i{index}", root / f"{index}.jpg")
            labels = {"Edema": float(index % 2)}
            yield Study(f"s{index}", f"p{index // 2}", (image,), report=root / f"{index}.txt", labels=labels)

    return Source("tree", studies, labels=("Edema",))


def run(root, out, number=NUMBER, **how):
    return prepare(source_of(root, number), out, options=Options(size=32), chunk=CHUNK, **how)


def content(store):
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.rglob("*")
        if path.is_file()
    }


def leftovers(out):
    return sorted(path.name for path in out.parent.iterdir() if path != out and out.name in path.name)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tree") / "files")


@pytest.fixture(scope="module")
def whole(tree, tmp_path_factory):
    """The store of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "store"
    run(tree, out)
    return content(out)


def in_a_child(work, *args):
    """Do the work in a process of its own, and return the process."""
    child = fork.Process(target=work, args=args)
    child.start()
    return child


def killed_while(work, seconds):
    child = in_a_child(work)
    time.sleep(seconds)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    return child.exitcode


def interrupt_at_random(tree, tmp_path, whole, kills):
    draw = random.Random(0)
    codes = []
    for number in range(kills):
        out = tmp_path / f"store{number}"
        chunks, more = draw.randrange(5), draw.uniform(0, 0.03)
        child = in_a_child(lambda out=out: run(tree, out))
        # So many chunks, not seconds: the speed of the machine must not decide whether the kill comes in time.
        while child.is_alive() and len(list(tmp_path.glob(f"{out.name}.partial/notes/*.json"))) < chunks:
            time.sleep(0.001)
        time.sleep(more)
        child.kill()
        child.join()
        codes.append(child.exitcode)
        if not out.exists():
            run(tree, out, resume=True)
        assert content(out) == whole
        assert not leftovers(out)
        shutil.rmtree(out)
    return codes


def test_killed_at_two_random_moments_and_resumed_the_store_is_the_same(tree, tmp_path, whole):
    assert -signal.SIGKILL in interrupt_at_random(tree, tmp_path, whole, kills=2)


@pytest.mark.soak
def test_killed_at_any_moment_and_resumed_the_store_is_the_same(tree, tmp_path, whole):
    codes = interrupt_at_random(tree, tmp_path, whole, kills=20)
    assert codes.count(-signal.SIGKILL) > 10  # the others had ended before


@pytest.mark.soak
def test_killed_again_and_again_the_work_comes_to_its_end(tree, tmp_path, whole):
    out = tmp_path / "store"
    draw = random.Random(1)
    for _ in range(20):
        if not out.exists():
            killed_while(lambda: run(tree, out, resume=True), draw.uniform(0.1, 0.5))
    run(tree, out, resume=True)
    assert content(out) == whole


def run_until(step, work):
    """Do the work, but die at a step: each is a change of the file system that others could see."""
    left = [step]

    def dying(change):
        def changed(*args, **options):
            left[0] -= 1
            if left[0] < 0:
                os._exit(99)
            return change(*args, **options)

        return changed

    os.replace = dying(os.replace)
    Path.rename = dying(Path.rename)
    Path.unlink = dying(Path.unlink)
    shutil.rmtree = dying(shutil.rmtree)
    work()
    os._exit(0)


@pytest.mark.parametrize("replaced", [False, True])
def test_no_step_is_one_at_which_to_die_loses_the_work(tmp_path, replaced):
    number = CHUNK + 2
    tree = make_tree(tmp_path / "files", 10)
    run(tree, tmp_path / "whole", number)
    expected = content(tmp_path / "whole")
    for step in range(200):
        out = tmp_path / f"store{step}"
        if replaced:
            shutil.copytree(tmp_path / "whole", out)
        work = partial(run, tree, out, number=number, overwrite=replaced)
        child = in_a_child(partial(run_until, step, work))
        child.join()
        run(tree, out, number, resume=True, overwrite=replaced)
        assert content(out) == expected, step
        assert not leftovers(out), step
        if child.exitcode == 0:
            break
    assert step > 10


def test_what_is_complete_is_not_done_again(tree, tmp_path, monkeypatch):
    out = tmp_path / "store"
    interrupt_after(3 * CHUNK, tree, out, monkeypatch)
    opened = []
    monkeypatch.setattr("igcl_lightning.data.preparing.row_images.read_picture", watching(opened))
    run(tree, out, resume=True)
    assert {path.stem for path in opened} == {str(index) for index in range(3 * CHUNK, NUMBER)}


def watching(opened):
    from igcl_lightning.data.images import read_picture

    def read(path, at_least=None):
        opened.append(path)
        return read_picture(path, at_least)

    return read


def interrupt_after(number, tree, out, monkeypatch):
    """Prepare, but fail when so many images are read."""
    from igcl_lightning.data.images import read_picture

    reads = iter(range(number))

    def read(path, at_least=None):
        if next(reads, None) is None:
            raise KeyboardInterrupt
        return read_picture(path, at_least)

    with monkeypatch.context() as patch:
        patch.setattr("igcl_lightning.data.preparing.row_images.read_picture", read)
        with pytest.raises(KeyboardInterrupt):
            run(tree, out)


def test_a_file_that_changed_after_the_interruption_is_read_again(tmp_path, monkeypatch):
    tree = make_tree(tmp_path / "files")
    out = tmp_path / "store"
    interrupt_after(3 * CHUNK, tree, out, monkeypatch)
    Image.fromarray(np.full((90, 70), 200, np.uint8)).save(tree / "2.jpg")
    (tree / "8.txt").write_text("FINDINGS: Pneumothorax.")
    run(tree, out, resume=True)
    run(tree, tmp_path / "anew")
    assert content(out) == content(tmp_path / "anew")


def test_a_source_that_lost_its_last_studies_leaves_no_rows_of_them(tree, tmp_path, monkeypatch):
    out = tmp_path / "store"
    interrupt_after(4 * CHUNK, tree, out, monkeypatch)
    run(tree, out, 2 * CHUNK, resume=True)
    run(tree, tmp_path / "anew", 2 * CHUNK)
    assert content(out) == content(tmp_path / "anew")


def test_an_interrupted_run_is_neither_lost_nor_taken_for_another(tree, tmp_path, monkeypatch):
    out = tmp_path / "store"
    interrupt_after(2 * CHUNK, tree, out, monkeypatch)
    with pytest.raises(IgclError, match=r"store.partial: left by an interrupted run; --resume continues it"):
        run(tree, out)
    with pytest.raises(
        IgclError, match=r"was started with different options.size \(32, now 16\); run the original command"
    ):
        prepare(source_of(tree), out, options=Options(size=16), chunk=CHUNK, resume=True)
    run(tree, out, overwrite=True)
    assert not leftovers(out)


def test_resuming_what_is_complete_changes_nothing(tree, tmp_path):
    out = tmp_path / "store"
    first = run(tree, out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert run(tree, out, resume=True) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    with pytest.raises(IgclError, match="was made with other inputs or options; --overwrite or --update"):
        prepare(source_of(tree), out, options=Options(size=16), chunk=CHUNK, resume=True)


def test_processes_do_not_change_a_byte(tree, tmp_path, whole):
    run(tree, tmp_path / "store", jobs=2)
    assert content(tmp_path / "store") == whole


def test_a_full_disk_gives_one_line_and_loses_nothing(tree, tmp_path, monkeypatch, whole):
    out = tmp_path / "store"
    replace = os.replace
    room = iter(range(7))

    def full(source, target):
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(unfinished.os, "replace", full)
        with pytest.raises(IgclError, match="store.partial: no space left on device; finished work is kept"):
            run(tree, out)
    assert list((tmp_path / "store.partial" / "notes").glob("*.json"))
    run(tree, out, resume=True)
    assert content(out) == whole


def fill_up(tree, out, place):
    """Prepare where a file may not grow beyond some bytes, as on a disk that is full in the midst of one."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    try:
        run(tree, out)
    except IgclError as error:
        place.send(str(error))


def test_a_write_that_fails_in_the_midst_of_a_file_gives_one_line(tree, tmp_path, whole):
    out = tmp_path / "store"
    here, there = fork.Pipe()
    in_a_child(fill_up, tree, out, there).join()
    assert here.poll()
    message = here.recv()
    assert "store.partial: file too large; finished work is kept" in message
    run(tree, out, resume=True, overwrite=True)
    assert content(out) == whole


@pytest.mark.soak
def test_a_disk_that_is_really_full(tree, tmp_path, whole):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        with pytest.raises(IgclError, match="no space left on device; finished work is kept"):
            run(tree, disk / "store")
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        run(tree, disk / "store", resume=True)
        assert content(disk / "store") == whole
    finally:
        subprocess.run(["umount", disk], check=True)


SCRIPT = """
import sys
from igcl_lightning.cli import main
sys.exit(main(sys.argv[1:]))
"""


def command(out, *more):
    words = ["prepare", "phantom", "--count", "3000", "--size", "64", "--jobs", "2", "--out", str(out), *more]
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *words], stderr=subprocess.DEVNULL)


@pytest.mark.soak
def test_the_command_is_killed_and_leaves_no_process(tmp_path):
    out = tmp_path / "store"
    with command(out) as process:
        while not list(tmp_path.glob("store.partial/notes/*.json")):
            time.sleep(0.1)
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    time.sleep(2)
    assert workers
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    with command(out, "--resume") as process:
        assert process.wait() == 0
    with command(tmp_path / "whole") as process:
        assert process.wait() == 0
    assert content(out) == content(tmp_path / "whole")


def test_an_update_takes_over_what_has_not_changed(tmp_path, monkeypatch):
    tree = make_tree(tmp_path / "files", NUMBER + 5)
    out = tmp_path / "store"
    run(tree, out)
    Image.fromarray(np.full((90, 70), 200, np.uint8)).save(tree / "2.jpg")
    (tree / "8.txt").write_text("FINDINGS: Pneumothorax.")
    opened, parsed = [], []
    monkeypatch.setattr("igcl_lightning.data.preparing.row_images.read_picture", watching(opened))
    monkeypatch.setattr(
        "igcl_lightning.data.preparing.study_rows.graph_columns",
        lambda *graphs: parsed.append(graphs) or graph_columns(*graphs),
    )
    run(tree, out, NUMBER + 5, update=True)
    new = {str(index) for index in range(NUMBER, NUMBER + 5)}
    assert {path.stem for path in opened} == {"2", "7", "9", *new}  # those that gave no row are tried again
    assert len(parsed) == 6
    run(tree, tmp_path / "anew", NUMBER + 5)
    assert content(out) == content(tmp_path / "anew")


def test_an_update_with_other_options_redoes_what_depends_on_them(tree, tmp_path):
    out = tmp_path / "store"
    run(tree, out)
    how = {"options": Options(size=16, sections="impression"), "chunk": CHUNK, "allow_no_graphs": True}
    prepare(source_of(tree), out, update=True, **how)
    prepare(source_of(tree), tmp_path / "anew", **how)
    assert content(out) == content(tmp_path / "anew")
    with pytest.raises(IgclError, match="nowhere: no such store to --update"):
        run(tree, tmp_path / "nowhere", update=True)


def test_the_store_is_what_datasets_opens(tree, tmp_path):
    out = tmp_path / "store"
    manifest = run(tree, out)
    assert len(list((out / "train").glob("*.arrow"))) > 1
    train = datasets.load_from_disk(str(out / "train"))
    assert len(train) == manifest["rows"]["train"]
    edema = train.filter(lambda labels: labels["Edema"] == 1, input_columns="labels")
    assert 0 < len(edema) < len(train)
    both = datasets.concatenate_datasets([train, datasets.load_from_disk(str(out / "test"))])
    both.to_parquet(str(tmp_path / "both.parquet"))
    pulled = datasets.load_dataset("parquet", data_files=str(tmp_path / "both.parquet"), cache_dir=str(tmp_path))[
        "train"
    ]
    assert pulled["row"] == [*train["row"], *datasets.load_from_disk(str(out / "test"))["row"]]
    assert pulled[0]["image"].size == (32, 32)
    assert Store(out).column("train", "row") == train["row"][:]


def test_notes_hold_what_was_left_out(tree, tmp_path):
    manifest = run(tree, tmp_path / "store")
    assert manifest["dropped"] == {"image missing": 1, "image not readable": 1}
    assert manifest["rows_by_report"] == {"empty": 1, "present": NUMBER - 3}
    assert json.loads((tmp_path / "store" / "manifest.json").read_text()) == manifest
