import importlib.util
import os
import signal
import sys

import pytest

from igcl_lightning.errors import IgclError
from igcl_lightning.processes import IN_FLIGHT, chunks, ordered_map


def double(number):
    return 2 * number


def die(number):
    os._exit(3)


def may_import_torch(number):
    return sys.modules.get("torch", importlib.util) is not None


def ignores_interrupts(number):
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items(jobs):
    with ordered_map(jobs) as run:
        assert list(run(double, range(50))) == list(range(0, 100, 2))


def test_few_items_are_in_memory_at_a_time():
    pulled = []
    with ordered_map(2) as run:
        next(run(double, (pulled.append(number) or number for number in range(1000))))
    assert len(pulled) <= 2 * IN_FLIGHT + 1


def test_a_process_that_dies_is_one_line():
    with (
        ordered_map(2) as run,
        pytest.raises(IgclError, match="--jobs: a worker process died.*run the same command again with fewer") as error,
    ):
        list(run(die, range(1000)))
    assert "\n" not in str(error.value)


def test_the_last_chunk_may_be_shorter():
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("with_torch", [False, True])
def test_only_work_that_needs_torch_may_import_it(with_torch):
    with ordered_map(2, with_torch=with_torch) as run:
        assert list(run(may_import_torch, range(3))) == [with_torch] * 3


def test_only_the_main_process_handles_an_interrupt():
    with ordered_map(2) as run:
        assert all(run(ignores_interrupts, range(3)))
