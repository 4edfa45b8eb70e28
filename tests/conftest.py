import os
import signal
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.phantom import FINDINGS
from stores import prepare_studies
from two_processes import BLANK, SERVER, save_blank


def pytest_collection_modifyitems(items):
    """Put the files that take long first: several workers, each with whole files, should end with short ones."""
    long = {item.path for item in items if item.get_closest_marker("long") or has_pairs(item.module)}
    items.sort(key=lambda item: item.path not in long)


def pytest_runtest_setup():
    """Begin each test alike: without the seed that a fit leaves in the environment, and with Ctrl-C handled.

    A background job of a shell ignores SIGINT, and so does every process that it starts.
    """
    for variable in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(variable, None)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def has_pairs(module):
    """Whether a file of tests starts processes of the server."""
    sources = ("two_processes", "killed_runs")
    return any(value is SERVER or getattr(value, "__module__", None) in sources for value in vars(module).values())


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data; tests that need it skip where it is not named."""
    folder = os.environ.get("IGCL_DATA")
    if not folder:
        pytest.skip("IGCL_DATA does not name the folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def phantom_store(tmp_path_factory) -> Path:
    """A small store of phantoms with masks, an empty report among them."""
    path = tmp_path_factory.mktemp("stores") / "phantom"
    studies = [partial(phantom_study, index, size=64, views="frontal") for index in range(72)]
    prepare_studies(studies, path, labels=FINDINGS, masks=True, options=Options(size=64, lossless=True))
    return path


@pytest.fixture
def blank_pictures(monkeypatch):
    """Figures are made, not rendered: that takes longer than a tiny training. The tests of each picture render it."""
    monkeypatch.setattr(Figure, "savefig", save_blank)
    monkeypatch.setenv(BLANK, "1")
