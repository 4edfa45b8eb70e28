"""What docs/report_graphs.md says is run and compared with the code."""

import re
from pathlib import Path

from igcl_lightning.graphs.labels import SCHEMES, label_table
from igcl_lightning.graphs.lexicon import KINDS, RIGHTLY_SPELT, SYNONYMS
from igcl_lightning.graphs.schema import ENTITY_LABELS, RELATION_TYPES

PAGE = (Path(__file__).parents[1] / "docs" / "report_graphs.md").read_text("utf-8")


def test_the_examples_run():
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)

    assert ("atelectasis", "OBS-U", "probable") in names["words"]
    assert ("effusion", "OBS-DA", "") in names["words"]
    assert names["labels"]["Atelectasis"] == -1.0
    assert names["labels"]["Pleural Effusion"] == 0.0


def test_every_label_relation_and_file_is_explained():
    explained = set(re.findall(r"`([\w.-]+)`", PAGE))
    files = {f"{name}.tsv" for name in (*KINDS, SYNONYMS, RIGHTLY_SPELT, "findings", "labels")}
    assert {*ENTITY_LABELS, *RELATION_TYPES, *files} <= explained


def test_the_policy_on_doubt_is_that_of_the_table():
    believed = {label.name for scheme in SCHEMES for label in label_table()[scheme] if label.believed}
    (row,) = re.findall(r"^\| (Atelectasis.*?) \| where it is called probable", PAGE, re.MULTILINE)
    said = set(re.split(r", | \(|\)", row)) - {""}
    assert {name.replace("_", " ") for name in believed} == said
