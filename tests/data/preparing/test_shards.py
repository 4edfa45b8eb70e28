"""Preparation in shards, as on several machines: their merge has the bytes of one run."""

import json
import os
import shutil
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from test_resume import CHUNK, NUMBER, content, in_a_child, leftovers, make_tree, run, run_until, source_of

from igcl_lightning.atomic import locked
from igcl_lightning.cli import main
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.preparing.shards import Shard, merge
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError

COUNT = 3
SHARDS = [Shard(number, COUNT) for number in range(1, COUNT + 1)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Images and reports; a patient's two studies are in two shards, some rows are dropped."""
    return make_tree(tmp_path_factory.mktemp("tree") / "files")


@pytest.fixture(scope="module")
def whole(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "store"
    run(tree, out)
    return out


@pytest.fixture(scope="module")
def prepared(tree, tmp_path_factory):
    """The folder of three complete shards."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in reversed(SHARDS):  # in any order
        run(tree, folder / "store", shard=shard)
    return folder


@pytest.fixture
def out(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path / "store"


def test_three_shards_merge_to_the_bytes_of_one_run(out, whole):
    manifest = merge(out)
    assert content(out) == content(whole)
    assert manifest == json.loads((whole / "manifest.json").read_text())
    assert manifest["dropped"] == {"image missing": 1, "image not readable": 1}
    assert not leftovers(out)


def test_each_shard_makes_its_chunks_only(prepared):
    chunks = [
        sorted(int(path.stem) for path in shard.folder(prepared / "store").glob("notes/*.json")) for shard in SHARDS
    ]
    assert chunks == [[*range(first, -(-NUMBER // CHUNK), COUNT)] for first in range(COUNT)]


def test_more_shards_than_chunks(tree, tmp_path):
    number = CHUNK + 1
    for shard in SHARDS:
        run(tree, tmp_path / "store", number, shard=shard)
    merge(tmp_path / "store")
    run(tree, tmp_path / "one", number)
    assert content(tmp_path / "store") == content(tmp_path / "one")


def test_an_interrupted_shard_resumes(tree, out, whole):
    second = SHARDS[1].folder(out)
    kept = second / "notes" / "00001.json"
    before = kept.stat().st_mtime_ns
    (second / "notes" / "00004.json").unlink()
    (second / "shard.json").unlink()
    with pytest.raises(IgclError, match="shard-2-of-3: not complete; run its command again with --resume"):
        merge(out)
    with pytest.raises(IgclError, match="shard-2-of-3: left by an interrupted run; --resume continues it"):
        run(tree, out, shard=SHARDS[1])
    run(tree, out, shard=SHARDS[1], resume=True)
    assert kept.stat().st_mtime_ns == before
    merge(out)
    assert content(out) == content(whole)


def test_a_shard_is_incomplete_while_it_is_made_again(tree, out):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("igcl_lightning.data.prepare.chunk_identity", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tree, out, shard=SHARDS[1], resume=True)
    with pytest.raises(IgclError, match="not complete"):
        merge(out)


def test_what_is_missing_or_twice_is_one_line(out):
    second, third = (shard.folder(out) for shard in SHARDS[1:])
    aside = out.parent / "aside"
    second.rename(aside)
    with pytest.raises(IgclError, match=r"store.shard-2-of-3: missing; prepare it with --shard 2/3, or move it here"):
        merge(out)
    shutil.copytree(third, second)
    with pytest.raises(IgclError, match=r"shard-2-of-3: holds shard 3/3, perhaps a copy; prepare shard 2/3 again"):
        merge(out)
    shutil.rmtree(second)
    aside.rename(second)
    next(second.glob("*/data-00001.arrow")).unlink()
    with pytest.raises(IgclError, match="data-00001.arrow: missing; copy it again, or prepare it again with --resume"):
        merge(out)
    (out.parent / "store.shard-1-of-4").mkdir()
    with pytest.raises(IgclError, match="there are shards of 3 and shards of 4; remove one of the two"):
        merge(out)
    with pytest.raises(IgclError, match=r"other: no shards here, such as .*other.shard-1-of-2"):
        merge(out.with_name("other"))
    assert not out.exists()


def zeros_behind(size):
    """Return a copy that had room for the whole file from the start."""
    return lambda data: data[: int(len(data) * size)].ljust(len(data), b"\0")


def some_rows(data):
    table = pa.ipc.open_stream(data).read_all()[:4]
    with pa.BufferOutputStream() as file:
        with pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
        return file.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("copied", "said"),
    [
        (lambda data: b"", r"damaged \("),
        (lambda data: data[:300], r"damaged \("),
        (lambda data: data[: len(data) // 2], r"damaged \("),
        (lambda data: data[:-8], "damaged .6 of 6 rows, no end."),
        (zeros_behind(0.5), "damaged .6 of 6 rows, no end."),
        (zeros_behind(0), "damaged"),
        (some_rows, "damaged .4 of 6 rows."),
    ],
)
def test_a_file_that_is_half_copied_is_named_and_made_again(tree, out, whole, copied, said):
    second = SHARDS[1].folder(out)
    path = max(second.glob("train/*.arrow"), key=lambda path: path.stat().st_size)
    path.write_bytes(copied(path.read_bytes()))
    with pytest.raises(IgclError, match=rf"{path}: {said}.*; copy it again, or prepare it again with --resume") as line:
        merge(out)
    assert "\n" not in str(line.value)
    assert [shard.folder(out).is_dir() for shard in SHARDS] == [True] * COUNT
    run(tree, out, shard=SHARDS[1], resume=True)
    merge(out)
    assert content(out) == content(whole)


def test_a_shard_that_is_written_now_is_left_alone(tree, out):
    second = SHARDS[1].folder(out)
    with locked(second):
        for work in (merge, partial(run, tree, shard=SHARDS[1]), partial(run, tree, shard=SHARDS[1], resume=True)):
            with pytest.raises(IgclError, match="shard-2-of-3: another run is writing to it"):
                work(out)
    merge(out)


def test_shards_of_other_options_sources_or_versions_do_not_mix(tree, out, monkeypatch):
    def again(source, size, message):
        how = {"options": Options(size=size), "chunk": CHUNK, "shard": SHARDS[2], "overwrite": True}
        prepare(source, out, **how)
        with pytest.raises(IgclError, match=f"shard-3-of-3: differs from shard 1 in {message}; prepare one of them"):
            merge(out)

    again(source_of(tree), 16, r"work.options.size \(32, now 16\)")
    again(source_of(tree, NUMBER - 1), 32, r"rows|studies")
    monkeypatch.setattr("igcl_lightning.data.prepare.__version__", "0.0")
    again(source_of(tree), 32, r"work.igcl_lightning \(.*, now '0.0'\)")


def test_a_row_in_two_shards_and_arrays_that_differ_between_them(tmp_path):
    def shards(*images):
        pixels = np.zeros((8, 8), np.uint8)
        calls = [
            lambda row=row, array=array: Study(row, row, (StudyImage(row, pixels),), arrays={"array": np.zeros(array)})
            for row, array in images
        ]
        for number in (1, 2):
            how = {"options": Options(size=8), "chunk": 1, "shard": Shard(number, 2), "overwrite": True}
            prepare(Source.of(calls, arrays=("array",)), tmp_path / "store", **how)

    shards(("a", 2), ("a", 2))
    with pytest.raises(IgclError, match="row 'a' occurs twice"):
        merge(tmp_path / "store")
    shards(("a", 2), ("b", 3))
    with pytest.raises(IgclError, match=r"array has shape \[2\] in some rows and \[3\] in later ones"):
        merge(tmp_path / "store")


def test_an_existing_store_is_replaced_only_if_asked(tree, out, whole):
    shutil.copytree(whole, out)
    with pytest.raises(IgclError, match="store: exists already; --overwrite replaces it"):
        merge(out)
    with pytest.raises(IgclError, match="store: exists already"):
        run(tree, out, shard=SHARDS[0])
    run(tree, out, shard=SHARDS[0], overwrite=True)
    assert content(out) == content(whole)
    merge(out, overwrite=True)
    assert content(out) == content(whole)
    assert not leftovers(out)


def test_shards_of_an_update(tmp_path):
    tree = make_tree(tmp_path / "files", NUMBER + 5)
    out = tmp_path / "store"
    run(tree, out)
    for shard in SHARDS:
        run(tree, out, NUMBER + 5, update=True, shard=shard)
    merge(out, overwrite=True)
    run(tree, tmp_path / "anew", NUMBER + 5)
    assert content(out) == content(tmp_path / "anew")


def test_links_become_copies_where_there_are_none(out, whole, monkeypatch):
    def refused(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    merge(out)
    assert content(out) == content(whole)


def test_no_step_of_a_merge_is_one_at_which_to_die_loses_the_work(prepared, whole, tmp_path):
    for step in range(60):
        out = tmp_path / str(step) / "store"
        shutil.copytree(prepared, out.parent)
        child = in_a_child(partial(run_until, step, partial(merge, out)))
        child.join()
        if not out.exists():
            merge(out)
        assert content(out) == content(whole), step
        if child.exitcode == 0:
            break
    assert step > 5


def test_the_commands(tmp_path, capsys):
    out = tmp_path / "store"
    words = ["prepare", "phantom", "--count", "6", "--size", "64", "--out", str(out), "--jobs", "1"]
    for number in (1, 2):
        assert main([*words, "--shard", f"{number}/2"]) is None
    assert f"shard-2-of-2: complete; when all 2 are: igcl merge {out}" in capsys.readouterr().out
    assert main(["merge", str(out)]) is None
    assert f"{out}: rows " in capsys.readouterr().out
    assert main([*words[:-4], "--out", str(tmp_path / "one"), "--jobs", "1"]) is None
    assert content(out) == content(tmp_path / "one")
    for wrong in ("0/2", "3/2", "2", "a/b"):
        assert main([*words, "--shard", wrong]) == 2
        assert "--shard: expected I/N with I from 1 to N" in capsys.readouterr().err
