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


def pytest_collection_modifyitems(items):
    """Give one worker, and first, what shares something long: a fixture of its file, or the server of pairs.

    Long tests are marked too, to come first: the last tests of a run should be short.
    """
    for item in items:
        if any(getattr(value, "__module__", None) == "two_processes" for value in vars(item.module).values()):
            item.add_marker(pytest.mark.xdist_group("two_processes"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


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
