import os
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.phantom import FINDINGS
from stores import prepare_studies
from two_processes import SERVER


def pytest_collection_modifyitems(items):
    """Keep files with pairs of processes on one worker: their tests share fixtures that take long.

    Everything that is kept together comes first, as it is long; the last tests of a run should be short.
    """
    for item in items:
        if any(map(of_the_server, vars(item.module).values())):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_runtest_setup():
    """Forget the seed that a fit leaves in the environment, or results would depend on the tests before."""
    for variable in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(variable, None)


def of_the_server(value):
    return value is SERVER or getattr(value, "__module__", None) in ("two_processes", "killed_runs")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data; tests that need it skip where it is not named."""
    folder = os.environ.get("IGCL_DATA")
    if not folder:
        pytest.skip("IGCL_DATA does not name the folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def phantom_store(tmp_path_factory) -> Path:
    """A small store of phantoms, an empty report among them."""
    path = tmp_path_factory.mktemp("stores") / "phantom"
    studies = [partial(phantom_study, index, size=64, views="frontal") for index in range(72)]
    prepare_studies(studies, path, labels=FINDINGS, options=Options(size=64, lossless=True))
    return path


@pytest.fixture
def blank_pictures(monkeypatch):
    """Figures are made, not rendered: that takes longer than a tiny training. The tests of each picture render it."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: Image.new("L", (1, 1)).save(path, "PNG"))
