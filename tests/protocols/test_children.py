"""Processes of their own: how many run at once, and which GPUs each sees."""

import os
import subprocess
import sys
from argparse import Namespace

import pytest

from igcl_lightning.cli.evaluate import jobs_of
from igcl_lightning.cli.parser import available_cores
from igcl_lightning.protocols import children
from igcl_lightning.protocols.children import run_children, shared_devices, start_child, visible_devices

TELL = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ.get('OMP_NUM_THREADS'))"


@pytest.mark.parametrize(
    ("devices", "jobs", "shares"),
    [
        ("", 2, ["", ""]),
        ("0", 2, ["0", "0"]),
        ("01", 2, ["0", "1"]),
        ("01", 3, ["0", "1", "0"]),
        ("4567", 2, ["45", "67"]),
        ("01234567", 3, ["01", "23", "45"]),
    ],
)
def test_every_process_has_as_many_gpus_and_none_has_none(devices, jobs, shares):
    assert [shared_devices([*devices], jobs, place) for place in range(jobs)] == [[*share] for share in shares]


def test_the_gpus_that_a_user_chose_are_shared(monkeypatch):
    monkeypatch.setattr(children.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices() == ["0", "1"]
    for named, seen in (("2, GPU-8f", ["2", "GPU-8f"]), ("", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert visible_devices() == seen


def test_by_default_there_is_a_model_for_each_gpu(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for devices, usual in ((4, 4), (1, 1), (0, available_cores())):
        monkeypatch.setattr(children.torch.cuda, "device_count", lambda number=devices: number)
        assert jobs_of(Namespace(jobs=None)) == usual
        assert jobs_of(Namespace(jobs=3)) == 3


@pytest.mark.parametrize(("jobs", "place", "told"), [(1, 0, "5,7 None"), (2, 0, "5 1"), (2, 1, "7 1"), (3, 2, "5 1")])
def test_a_process_sees_its_share(tmp_path, monkeypatch, jobs, place, told):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    log = tmp_path / "log.txt"
    assert start_child(["-c", TELL], log, jobs, place).wait() == 0
    assert log.read_text().strip() == told


def test_a_place_is_taken_by_one_process_at_a_time_and_given_on(monkeypatch):
    monkeypatch.setattr(children, "POLL", 0.01)
    taken, running, most = [], set(), 0

    def start(work, place):
        nonlocal most
        assert place not in running
        running.add(place)
        most = max(most, len(running))
        taken.append((work, place))
        return subprocess.Popen([sys.executable, "-S", "-c", ""], env=os.environ)

    places = {}
    run_children(
        range(5), 2, start, lambda work, status: running.discard(dict(taken)[work]) or places.update({work: status})
    )
    assert places == dict.fromkeys(range(5), 0)
    assert most == 2
    assert {place for _, place in taken} == {0, 1}
