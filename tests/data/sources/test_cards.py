"""The command of each card of docs/data.md, run exactly as it is written, on a tree in the layout of the card."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import test_covid_chestxray
import test_nih_cxr14
import test_openi
import test_subset
from test_covidx import covidx_tree
from test_padchest import write_tree as padchest_tree
from test_rsna import write_tree as rsna_tree
from test_siim import write_tree as siim_tree
from test_vindr import write_kaggle as vindr_tree

from igcl_lightning.cli import main, prepare
from igcl_lightning.data.sources import subset
from igcl_lightning.data.store import Store
from igcl_lightning.graphs.radgraph_files import write_radgraph
from igcl_lightning.graphs.schema import Entity, ReportGraph
from source_trees import chexpert_plus_tree, chexpert_tree, write_image

covid_tree, nih_tree = test_covid_chestxray.root, test_nih_cxr14.root
openi_tree, mimic_tree = test_openi.library, test_subset.mimic

PAGE = Path(__file__).parents[3] / "docs" / "data.md"
COMMANDS = [
    shlex.split(command.replace("\\\n", " "))
    for command in re.findall(r"(?:^ *|`)igcl (prepare (?:\\\n|[^`\n])+)", PAGE.read_text(), re.MULTILINE)
]
DATA_SETS = [words for words in COMMANDS if "--out" in words and words[1] != "phantom"]
"""Phantoms have no layout, and thousands of them take minutes."""


@pytest.fixture
def trees(tmp_path, monkeypatch):
    """Every data set in a folder of the name that its card uses."""
    chexpert_tree(tmp_path / "chexpert")
    chexpert_plus_tree(tmp_path / "chexpert-plus")
    covidx_tree(tmp_path / "covidx-cxr4")
    rsna_tree(tmp_path / "rsna")
    siim_tree(tmp_path / "siim")
    vindr_tree(tmp_path / "vindr")
    padchest_tree(tmp_path / "padchest")
    write_image(tmp_path / "scans/p1/a.png")
    for number in (1, 2):
        write_image(tmp_path / f"{number}.png")
    rows = ["file,patient,report,Edema,Fracture,fold", "1.png,1,Edema.,1,,fold0", "2.png,2,No edema.,0,1,train"]
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    graph = ReportGraph("Effusion .", (Entity("Effusion", "OBS-DP", 0, 0),))
    (tmp_path / "radgraph").mkdir()
    write_radgraph({"p10/p10000001/s50000001.txt": graph}, tmp_path / "radgraph/MIMIC-CXR_graphs.json")
    annotations = tmp_path / "chexpert-plus/radgraph-XL-annotations"
    annotations.mkdir()
    for section, text in (("findings", "Clear lungs ."), ("impression", "Edema is seen .")):
        graph = ReportGraph(text, (Entity(text.partition(" ")[0], "OBS-DP", 0, 0),))
        write_radgraph({"0": graph}, annotations / f"section_{section}.json")
    monkeypatch.setattr(subset, "EACH", 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_data_set_has_a_card_with_a_command():
    assert {words[1] for words in DATA_SETS} == prepare.READERS.keys() - {"phantom"}


def test_the_commands_of_the_cards_run_as_they_are_written(trees, covid_tree, nih_tree, openi_tree, mimic_tree):
    for words in DATA_SETS:
        out = Path(words[words.index("--out") + 1])
        shutil.rmtree(out, ignore_errors=True)  # some commands name the same store
        assert main(words) is None, words
        assert Store(out).splits
