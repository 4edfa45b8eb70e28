"""The code of docs/data.md does what the page says."""

import re
from pathlib import Path

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.phantom import FINDINGS
from stores import prepare_studies

PAGE = Path(__file__).parents[1] / "docs" / "data.md"


def test_two_stores_become_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, first in (("north", 0), ("south", 40)):
        studies = [phantom_study(index, size=64) for index in range(first, first + 40)]
        prepare_studies(studies, Path("stores") / name, labels=FINDINGS, options=Options(size=64))
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(code, str(PAGE), "exec"), {})
    both, north, south = (Store(Path("stores") / name) for name in ("both", "north", "south"))
    frontal = [
        row
        for store in (north, south)
        for row, view in zip(store.column("train", "row"), store.column("train", "view"), strict=True)
        if view in ("PA", "AP")
    ]
    assert both.column("train", "row") == frontal
    assert both.column("valid", "row") == north.column("valid", "row")
