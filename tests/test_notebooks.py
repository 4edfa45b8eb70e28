"""Every notebook runs from top to bottom and is kept with its outputs."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
PICTURES = {"01_quickstart": 8, "02_local_matching": 7, "03_tasks": 4, "04_evaluation": 2}
"""Fewest pictures of each notebook."""


def num_pictures(cells):
    return sum("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))


@pytest.mark.long
def test_notebooks_run(tmp_path, monkeypatch):
    """One after the other in one kernel, which imports everything once and then forgets every name."""
    monkeypatch.setenv("IGCL_NOTEBOOK_FAST", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebooks = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    forget = nbformat.v4.new_code_cell("%reset -f")
    together = nbformat.v4.new_notebook(cells=[cell for each in notebooks for cell in (*each.cells, forget)])
    NotebookClient(together, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for path, notebook in zip(NOTEBOOKS, notebooks, strict=True):
        assert num_pictures(notebook.cells) >= PICTURES[path.stem]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_outputs_are_whole_small_and_clean(path):
    """`docs/run_notebook.py` makes them."""
    assert path.stat().st_size < 500_000
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert num_pictures(cells) >= PICTURES[path.stem]
    for output in (output for cell in cells for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        said = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not re.search(r"/(tmp|home|root|Users|work|usr)/|[Ww]arning|\d%\|", said), said
