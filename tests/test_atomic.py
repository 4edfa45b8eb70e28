import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from igcl_lightning.atomic import locked, replacing
from igcl_lightning.errors import IgclError


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [IgclError("no"), OSError("full"), KeyboardInterrupt()], ids=repr)
def test_a_writer_that_dies_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def die():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        die()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_at_once_do_not_disturb_each_other(tmp_path):
    path, both = tmp_path / "file.txt", threading.Barrier(2)

    def write(text):
        with replacing(path) as temporary:
            temporary.write_text(text)
            both.wait(timeout=10)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("one", "two")))
    assert path.read_text() in ("one", "two")
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "no folder" / "file.txt"
    with pytest.raises(FileNotFoundError) as caught, replacing(path) as temporary:
        temporary.write_text("text")
    assert caught.value.filename == str(path)


def test_a_pipe_is_written_to_as_it_is(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    with replacing(path) as target:
        target.write_text("text")
    reader.join()
    assert read == ["text"]
    assert path.is_fifo()


def test_there_is_one_atomic_writer():
    """Unfinished stores and graphs are resumed: they have their own."""
    source = Path(__file__).parents[1] / "src" / "igcl_lightning"
    resumed = {"data/preparing/unfinished.py", "data/preparing/chunk.py", "reports/partial_file.py"}
    writers = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if "os.replace(" in path.read_text() or ".replace(path)" in path.read_text()
    }
    assert writers == {"atomic.py"} | resumed


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    with locked(tmp_path):
        with pytest.raises(IgclError, match="another run is writing to it"), locked(tmp_path):
            pass
        with pytest.raises(IgclError, match="another run is writing to it"), locked(tmp_path):
            pass
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_does_not_keep_a_folder_locked(tmp_path):
    """As the workers of a loader would, which live on for seconds when the process of a fit is killed."""
    (ended, end), (begun, begin) = os.pipe(), os.pipe()
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(begin, b"1")
            os.read(ended, 1)
            os._exit(0)
        os.read(begun, 1)
    with locked(tmp_path):
        os.write(end, b"1")
    os.waitpid(child, 0)
