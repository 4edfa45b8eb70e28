"""Texts of units, the sheet of what they attend to, and `matchings.parquet`."""

from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer

from igcl_lightning.callbacks import MatchingSheet, RetrievalSheet, WriteMatchings
from igcl_lightning.callbacks.matching_sheet import BEFORE, draw_matchings, heat_map
from igcl_lightning.callbacks.matchings import Matchings, matchings_of, unit_table
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import ReportGraph, stable_hash
from igcl_lightning.graphs.tokens import ReportTokenizer
from igcl_lightning.modules import IGCL, RECLF
from tiny_bert import save_tiny_bert
from two_processes import run_on_two

SMALL = {"image": {"backbone": "test_resnet", "size": 64}, "projection": {"channels": 16}}
MATCHING = {"channels": 8, "region_layer": 3, "form": "hadamard", "form_channels": 8}
LOCAL = {"matching": MATCHING, "srm": {"steps": 1}, "irm": {"pooling": "attention"}}
GRAPH, TEXT = {"channels": 16, "dropout": 0.0}, {"channels": 16, "dropout": 0.0, "readout": "attention"}
REPORTS = ("Small left pleural effusion. No pneumothorax.", "", "The heart is enlarged . Clear lungs .")


def build(units, **options):
    torch.manual_seed(0)
    module = RECLF(**SMALL, **LOCAL, units=units, graph=GRAPH, text=TEXT | {"sentence_sampling": True} | options)
    # As after some training: relations change scores only once their read-out is no longer zero.
    torch.nn.init.normal_(module.local.read.weight)
    return module.eval()


def batch_of(graphs, tokenizer):
    """The fields of a batch that encoders and matchings read."""
    image = torch.randint(0, 256, (len(graphs), 1, 64, 64), dtype=torch.uint8)
    report = tokenizer([graph.text for graph in graphs])
    return SimpleNamespace(image=image, graph=featurize(graphs), report=report, row=torch.arange(len(graphs)))


@pytest.fixture(scope="module")
def graphs():
    parser = SpacyReportParser()
    return [parser.parse(text) if text else ReportGraph("") for text in REPORTS]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return str(save_tiny_bert(tmp_path_factory.mktemp("models") / "bert", max_position=256))


def expected_units(graph, units, max_words):
    """The texts and labels of a report's units, from its graph alone."""
    words = [(word, None) for word in graph.words[:max_words]] or [("", None)]
    entities = [(entity.tokens, entity.label) for entity in graph.entities] or [("", None)]
    return {"words": words, "entities": entities, "both": words + entities}[units]


@pytest.mark.parametrize("units", ["words", "entities", "both"])
@pytest.mark.parametrize("max_tokens", [256, 5])
def test_texts_are_those_of_the_units(units, max_tokens, graphs, monkeypatch):
    module = build(units)
    monkeypatch.setattr(module, "side_input", lambda side, batch: pairs_input(module, side, batch))
    batch = batch_of(graphs, ReportTokenizer(max_tokens=max_tokens))
    with torch.no_grad():
        table = unit_table(matchings_of(module, batch), graphs)
    for number, units_of_report in table.groupby("pair"):
        expected = expected_units(graphs[number], units, max_tokens)
        assert list(zip(units_of_report["text"], units_of_report["label"], strict=True)) == expected
        assert units_of_report["unit"].tolist() == list(range(len(expected)))
    assert sorted(set(table["pair"])) == [0, 1, 2]
