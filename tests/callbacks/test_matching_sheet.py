"""Texts of units, the sheet of what they attend to, and `matchings.parquet`."""

import re
from dataclasses import replace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from matplotlib.colors import to_rgba
from tokenizers import normalizers

from igcl_lightning.callbacks import MatchingSheet, RetrievalSheet, WriteMatchings
from igcl_lightning.callbacks.matching_sheet import AFTER, BEFORE, draw_matchings, heat_map
from igcl_lightning.callbacks.matchings import matchings_of, unit_table
from igcl_lightning.cli import main
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.samples import PairBatch
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph, stable_hash
from igcl_lightning.graphs.tokens import ReportTokenizer
from igcl_lightning.modules import IGCL, RECLF
from tiny_bert import save_tiny_bert
from two_processes import run_on_two

SMALL = {"image": {"backbone": "test_resnet", "size": 64}, "projection": {"channels": 16}}
MATCHING = {"channels": 8, "region_layer": 3, "form": "hadamard", "form_channels": 8}
GRAPH, TEXT = {"channels": 16, "dropout": 0.0}, {"channels": 16, "dropout": 0.0, "sentence_sampling": True}
REPORTS = ("Small left pleural effusion. No pneumothorax.", "", "The heart is enlarged. Left lung is clear.")
COLUMNS = ["text", "label", "relates_to", "weight", "before", "after", "attention", "grid_rows", "grid_columns"]


def build(units, graph=GRAPH, text=TEXT, srm=None, **options):
    torch.manual_seed(0)
    relations = {"srm": srm or {"steps": 1}, "irm": {"pooling": "attention"}, "matching": MATCHING}
    module = RECLF(**SMALL, **relations, units=units, graph=graph, text=text, **options)
    torch.nn.init.normal_(module.local.read.weight)  # zero at first: relations would change no score
    return module.eval()


def batch_of(graphs, tokenizer=None):
    torch.manual_seed(1)
    image = torch.randint(0, 256, (len(graphs), 1, 64, 64), dtype=torch.uint8)
    report = (tokenizer or ReportTokenizer())([graph.text for graph in graphs])
    nothing = dict.fromkeys(PairBatch._fields)
    return PairBatch(**nothing)._replace(
        image=image, graph=featurize(graphs), report=report, extra={}, row=torch.arange(len(graphs))
    )


@torch.no_grad()
def units_of(module, graphs, tokenizer=None):
    """The table of each report, in one batch."""
    table = unit_table(matchings_of(module, batch_of(graphs, tokenizer)), graphs)
    return [units.reset_index(drop=True) for _, units in table.groupby("pair")]


@pytest.fixture(scope="module")
def graphs():
    parser = SpacyReportParser()
    return [parser.parse(text) if text else ReportGraph("") for text in REPORTS]


def expected_names(graph, units, max_words=256):
    """The texts and labels of a report's units, from its graph alone."""
    words = [(word, None) for word in graph.words[:max_words]] or [("", None)]
    entities = [(entity.tokens, entity.label) for entity in graph.entities] or [("", None)]
    return {"words": words, "entities": entities, "both": words + entities}[units]


def assert_names(tables, graphs, units, max_words=256):
    assert len(tables) == len(graphs)
    for table, graph in zip(tables, graphs, strict=True):
        expected = expected_names(graph, units, max_words)
        labels = table["label"].astype(object).where(table["label"].notna(), None)
        assert list(zip(table["text"], labels, strict=True)) == expected
        assert table["unit"].tolist() == list(range(len(expected)))


@pytest.mark.parametrize("units", ["words", "entities", "both"])
@pytest.mark.parametrize("max_tokens", [256, 5])
def test_every_unit_has_its_text(units, max_tokens, graphs):
    assert any(graph.entities for graph in graphs)
    assert_names(units_of(build(units), graphs, ReportTokenizer(max_tokens=max_tokens)), graphs, units, max_tokens)
    assert_names(units_of(build(units), [ReportGraph("")] * 2), [ReportGraph("")] * 2, units)


@pytest.mark.parametrize("units", ["words", "both"])
def test_words_of_a_hub_model_have_their_text_whatever_their_pieces(units, graphs, tmp_path):
    """`pneumothorax` is two pieces, `effusion .` would be two words; two tokens of each report are special."""
    bert = save_tiny_bert(tmp_path / "bert", max_position=256)
    module = build(units, text={"model": bert, "frozen_layers": 0, "sentence_sampling": True})
    assert_names(units_of(module, graphs, ReportTokenizer(bert)), graphs, units)


def test_a_word_without_pieces_is_no_unit(graphs, tmp_path):
    bert = save_tiny_bert(tmp_path / "bert", max_position=256)
    tokenizer = ReportTokenizer(bert)
    tokenizer.wordpieces.normalizer = normalizers.Replace("left", "")  # as BERT's drops characters without a width
    module = build("words", text={"model": bert, "frozen_layers": 0})
    table = units_of(module, graphs, tokenizer)[0]
    assert "left" in graphs[0].words
    assert table["text"].tolist() == [word for word in graphs[0].words if word != "left"]


def with_another_word(graph, index):
    """The graph with one word, and the entity of that word alone, called otherwise."""
    words = ["scoliosis" if place == index else word for place, word in enumerate(graph.words)]
    entities = [replace(entity, tokens=" ".join(words[entity.start : entity.end + 1])) for entity in graph.entities]
    return ReportGraph(" ".join(words), tuple(entities), graph.relations)


@pytest.mark.parametrize("units", ["words", "entities", "both"])
def test_a_unit_with_another_text_is_the_only_one_with_another_score(units, graphs):
    """Encoders without attention and no relations: the score of a unit depends on its own text only."""
    graphs = [replace(graph, relations=()) for graph in graphs]
    module = build(units, graph=GRAPH | {"attention_layers": 0}, text=TEXT | {"layers": 0}, srm={"steps": 0})
    for index in range(len(graphs[2].words)):
        changed = [*graphs[:2], with_another_word(graphs[2], index)]
        own, other = (units_of(module, each) for each in (graphs, changed))
        for number, (before, after) in enumerate(zip(own, other, strict=True)):
            same_text = before["text"] == after["text"]
            same_score = np.isclose(before["after"], after["after"], rtol=0, atol=1e-6)
            assert same_score.tolist() == same_text.tolist()
            assert number == 2 or same_text.all()


@pytest.mark.parametrize("units", ["words", "entities", "both"])
def test_the_table_is_that_of_each_pair_alone(units, graphs):
    """Padding counts for nothing; numbers are those of `explain` for a batch of one."""
    module, batch = build(units), batch_of(graphs)
    tables = units_of(module, graphs)
    for number, graph in enumerate(graphs):
        single = batch_of([graph])._replace(image=batch.image[number : number + 1])
        with torch.no_grad():
            image, report = (module.encode(side, module.side_input(side, single)) for side in module.sides)
            seen = module.local.explain(module.local.regions(image), module.local.units(report))
        units_seen = report.mask[0]
        for name in ("before", "after", "weight"):
            np.testing.assert_allclose(tables[number][name], getattr(seen, name)[0, units_seen], atol=1e-5)
        attention = np.stack(tables[number]["attention"])
        np.testing.assert_allclose(attention, seen.attention[0, units_seen], atol=1e-5)
        np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-5)
        assert {*zip(tables[number]["grid_rows"], tables[number]["grid_columns"], strict=True)} == {image.grid}
    assert max(abs(table["before"] - table["after"]).max() for table in tables) > 1e-3


def test_a_heat_map_is_bright_where_the_attention_is():
    attention = np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.5]], np.float32)
    heat = heat_map(attention, (20, 30))
    assert heat.shape == (20, 30)
    assert (heat.min(), heat.max()) == (0, pytest.approx(1))
    assert np.unravel_index(heat.argmax(), heat.shape) >= (15, 25)
    assert heat[:5].max() == heat[:, :15].max() == 0
    # Halfway between the centres of two regions, and of their pixels.
    assert heat_map(np.array([[0.2, 0.6]], np.float32), (1, 4))[0] == pytest.approx([0, 0.25, 0.75, 1])
    assert not heat_map(np.full((2, 2), 0.25, np.float32), (8, 8)).any()


def table_of(weights, labels=None):
    count = len(weights)
    scores = np.linspace(-0.2, 0.8, count)
    attention = [np.eye(6, dtype=np.float32)[number % 6] for number in range(count)]
    units = {
        "unit": range(count),
        "text": [f"word${number}" for number in range(count)],
        "label": labels or [None] * count,
        "relates_to": None,
    }
    numbers = {"weight": weights, "before": scores, "after": scores + 0.1, "attention": attention}
    return pd.DataFrame({**units, **numbers, "grid_rows": 2, "grid_columns": 3})


def test_the_sheet_shows_the_heaviest_units_and_all_scores():
    tables = [table_of([0.1, 0.6, 0.3], ["OBS-DA", None, "OBS-U"]), table_of(np.full(20, 0.05))]
    tables[0].loc[2, "text"] = ""
    pixels = torch.arange(2 * 64, dtype=torch.uint8).view(2, 1, 8, 8)
    figure = draw_matchings(pixels, tables, captions=["study 1", "study 2"], title="epoch 3")
    assert figure.get_suptitle() == "epoch 3"
    first, second = np.array(figure.axes, object).reshape(2, 7)
    titles = [axes.get_title() for axes in first]
    assert titles == [
        *("study 1", "word$1\nweight 60%", "(empty report) (uncertain)\nweight 30%", "word$0 (absent)\nweight 10%", ""),
        *("score, all 3 units", "weight (%)"),
    ]
    # Of equal weights, the highest scores.
    assert [axes.get_title() for axes in second[1:3]] == ["word$19\nweight 5%", "word$18\nweight 5%"]
    assert second[5].get_title() == "score, 14 of 20 units"
    assert [label.get_text() for label in second[5].get_yticklabels()] == [f"word${number}" for number in range(6, 20)]
    for axes, unit in zip(first[1:4], (1, 2, 0), strict=True):
        image, heat = axes.images
        assert np.array_equal(image.get_array(), pixels[0, 0])
        row, column = np.unravel_index(np.array(heat.get_array()).argmax(), (8, 8))
        assert (row // 4, column // 3) == (0, unit), "unit u attends to region u of two rows of three"
    for name, colour in (("before", BEFORE), ("after", AFTER)):
        bars = [bar.get_width() for bar in first[5].patches if bar.get_facecolor() == to_rgba(colour)]
        assert bars == pytest.approx(tables[0][name].tolist())
    assert [bar.get_width() for bar in first[6].patches] == pytest.approx([10, 60, 30])


def test_without_semantic_relations_there_is_one_bar():
    table = table_of([0.2, 0.8])
    table["after"] = table["before"]
    pixels = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    *_, scores, _ = draw_matchings(pixels[:1], [table], num_units=1).axes
    assert [bar.get_width() for bar in scores.patches] == pytest.approx(table["after"].tolist())
    assert {bar.get_facecolor() for bar in scores.patches} == {to_rgba(AFTER)}
    *_, scores, _ = draw_matchings(pixels, [table, table_of([0.2, 0.8])], num_units=1).axes
    assert len(scores.patches) == 4, "of both reports, if one of them has relations"


def test_top_units_differ_and_are_told_apart():
    table = table_of([0.3, 0.2, 0.15, 0.1, 0.1, 0.1, 0.05])
    table["text"] = ["Left", ".", "left", "lung", "left", "Left", ""]
    table["label"] = [*["ANAT-DP"] * 5, "OBS-DA", None]
    table["relates_to"] = ["pleural", None, "lung", "base", "lung", None, None]
    pixels = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    _, *maps, scores, _ = draw_matchings(pixels, [table], num_units=4).axes
    shown = [axes.get_title().splitlines()[0] for axes in maps]
    assert shown == ["Left → pleural", "Left (absent)", "lung", "(empty report)"]
    names = ["Left → pleural", "left → lung", "lung", "left → lung (2)", "Left (absent)", "(empty report)"]
    assert [label.get_text() for label in scores.get_yticklabels()] == names
    assert scores.get_title() == "score, 6 of 7 units"


def test_an_entity_relates_to_what_it_modifies_rather_than_to_its_place(graphs):
    entities = (Entity("small", "OBS-DP", 0, 0), Entity("left", "ANAT-DP", 1, 1), Entity("effusion", "OBS-DP", 2, 2))
    relations = (Relation(0, "located_at", 1), Relation(0, "modify", 2), Relation(2, "located_at", 1))
    (table,) = units_of(build("entities"), [ReportGraph("small left effusion", entities, relations)])
    assert table["relates_to"].tolist() == ["effusion", None, "left"]
    assert units_of(build("words"), graphs)[0]["relates_to"].isna().all()


@torch.no_grad()
@pytest.mark.parametrize("units", ["words", "both"])
def test_scores_of_pairs_are_those_of_the_module(units, graphs):
    module, batch = build(units), batch_of(graphs)
    first, second = (
        module.matched(side, encoded, module.project(side, encoded))
        for side in module.sides
        for encoded in [module.encode(side, module.side_input(side, batch))]
    )
    expected = torch.stack([module.scorer(name)(first, second).diagonal() for name in module.score_names], dim=1)
    torch.testing.assert_close(matchings_of(module, batch).score, expected, rtol=0, atol=1e-5)


def test_colours_are_safe_or_those_of_the_paper():
    pixels = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    for colours in ("viridis", "jet"):
        figure = draw_matchings(pixels, [table_of([1.0])], num_units=1, colours=MatchingSheet(colours=colours).colours)
        assert figure.axes[1].images[1].get_cmap().name == colours
    with pytest.raises(IgclError, match=r"^MatchingSheet.colours 'Jet' is not one of viridis, jet.*$"):
        MatchingSheet(colours="Jet")


def quiet(*callbacks, folder, **options):
    silent = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    return Trainer(accelerator="cpu", callbacks=list(callbacks), default_root_dir=folder, **silent | options)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fit_draws_the_first_patients(precision, phantom_store, tmp_path, monkeypatch):
    drawn = []

    def draw(*given):
        drawn.append(given)
        return draw_matchings(*given)

    monkeypatch.setattr("igcl_lightning.callbacks.matching_sheet.draw_matchings", draw)
    sheet = MatchingSheet(num_images=3, num_units=2, colours="jet", every_n_epochs=2)
    data = PairedDataModule(str(phantom_store), batch_size=2)
    trainer = quiet(sheet, folder=tmp_path, max_epochs=3, limit_train_batches=1, precision=precision)
    trainer.fit(build("entities"), data)
    assert matplotlib.image.imread(tmp_path / "plots" / "matching_sheet.png").std() > 0.02
    assert len(drawn) == 2, "after the second epoch and at the end"
    assert [each[5] for each in drawn] == ["epoch 1", "epoch 2"]
    pixels, tables, *options, captions, _ = drawn[-1]
    assert options == [2, "jet"]
    store, batches = Store(phantom_store), list(data.val_dataloader())
    image, patient, row = (torch.cat([getattr(each, name) for each in batches]) for name in ("image", "patient", "row"))
    first = [patient.tolist().index(one) for one in dict.fromkeys(patient.tolist())][:3]
    assert len(first) == 3
    assert first[-1] >= 2, "a later batch has the first image of a patient too"
    assert torch.equal(pixels, image[first])
    graphs = [store.report_graph(int(row[index])) for index in first]
    assert [each.splitlines()[0] for each in captions] == [store.ids(int(row[index]))[1] for index in first]
    assert all(re.fullmatch(r".+\nglobal -?\d\.\d\d\nlocal -?\d\.\d\d, both -?\d+\.\d\d", each) for each in captions)
    assert_names([table.reset_index() for table in tables], graphs, "entities")


def test_a_module_without_local_branch_gets_one_line(phantom_store, tmp_path, recwarn):
    module, data = IGCL(**SMALL, graph=GRAPH), PairedDataModule(str(phantom_store))
    trainer = quiet(MatchingSheet(), WriteMatchings(), folder=tmp_path)
    trainer.validate(module, data, verbose=False)
    trainer.predict(module, data)
    said = [str(each.message) for each in recwarn if "does nothing" in str(each.message)]
    assert [line.split(":")[0] for line in said] == ["MatchingSheet does nothing", "WriteMatchings does nothing"]
    assert "IGCL matches no words" in said[0]
    assert not list(tmp_path.iterdir())


def test_matchings_of_what_is_no_image_are_not_drawn_on_one(tmp_path):
    module = build("entities")
    module.sides = ("ecg", "graph")
    with pytest.warns(UserWarning, match="MatchingSheet does nothing"):
        MatchingSheet().setup(quiet(folder=tmp_path), module, "fit")


@pytest.mark.parametrize("units", ["words", "both"])
def test_predict_writes_all_units_in_order(units, phantom_store, tmp_path):
    module, data = build(units), PairedDataModule(str(phantom_store), batch_size=3)
    quiet(WriteMatchings(), folder=tmp_path).predict(module, data)
    written = pd.read_parquet(tmp_path / "matchings.parquet")
    assert list(written) == ["row", "study", "patient", "split", "unit", *COLUMNS]
    store = Store(phantom_store)
    rows = store.column("test", "row")
    assert written["row"].unique().tolist() == rows
    graphs = [store.report_graph(stable_hash(row)) for row in rows]
    assert not all(graph.entities for graph in graphs), "an empty report is predicted too"
    assert_names([table.reset_index() for _, table in written.groupby("row", sort=False)], graphs, units)
    data.predict_splits, data.batch_size = ["test"], len(rows)
    with torch.no_grad():
        expected = unit_table(matchings_of(module, next(iter(data.predict_dataloader()))), graphs)
    np.testing.assert_allclose(np.stack(written["attention"]), np.stack(expected["attention"]), atol=1e-5)
    for name in ("weight", "before", "after"):
        np.testing.assert_allclose(written[name], expected[name], atol=1e-5)
    by_study = dict(zip(store.column("test", "row"), store.column("test", "study"), strict=True))
    assert written["study"].tolist() == [by_study[row] for row in written["row"]]
    assert set(written["split"]) == {"test"}


def test_texts_need_a_data_module_that_has_them(phantom_store, tmp_path, monkeypatch):
    data = PairedDataModule(str(phantom_store))
    monkeypatch.delattr("igcl_lightning.data.store_module.StoreDataModule.report_graph")
    for callback, job in ((WriteMatchings(), "predict"), (MatchingSheet(), "validate")):
        asker = type(callback).__name__
        with pytest.raises(IgclError, match=f"^{asker} needs a data module such as .* lacks 'report_graph'$"):
            getattr(quiet(callback, folder=tmp_path), job)(build("words"), data)


def test_two_processes_write_what_one_does(phantom_store, tmp_path):
    module, data = build("both"), PairedDataModule(str(phantom_store), batch_size=8)
    trainer = quiet(folder=tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    def words(name, batch_size):
        run = ["predict", "--model", "RECLF", "--ckpt_path", tmp_path / "last.ckpt"]
        data = ["--data", "PairedDataModule", "--data.store", phantom_store, "--data.batch_size", batch_size]
        logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path, "--trainer.logger.name", name]
        quietly = ["--trainer.callbacks", "WriteMatchings", "--trainer.enable_progress_bar", "false"]
        return [*map(str, [*run, *data, *logger, *quietly])]

    ranks = run_on_two([words("two", 2)], tmp_path / "pair")
    assert [rank.statuses for rank in ranks] == [[0], [0]], ranks[0].stderr[-2000:]
    assert main([*words("one", 4), "--trainer.accelerator", "cpu"]) == 0
    one, two = (pd.read_parquet(tmp_path / name / "version_0" / "matchings.parquet") for name in ("one", "two"))
    assert one["row"].nunique() == len(Store(phantom_store).table("test")) > 4
    for column in one:
        if column in ("attention", "weight", "before", "after"):
            np.testing.assert_allclose(np.stack(two[column]), np.stack(one[column]), atol=1e-5)
        else:
            assert two[column].equals(one[column]), column


def test_the_retrieval_sheet_says_which_score_ranks(phantom_store, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "igcl_lightning.callbacks.validation_pairs.save_figure", lambda figure, path, trainer: figures.append(figure)
    )
    data = PairedDataModule(str(phantom_store))
    for module in (build("entities"), IGCL(**SMALL, graph=GRAPH)):
        quiet(RetrievalSheet(), folder=tmp_path).validate(module, data, verbose=False)
    assert [figure.get_suptitle() for figure in figures] == ["ranked by the global score alone", ""]
