from types import SimpleNamespace

import matplotlib.image
import pytest
import torch
from lightning.pytorch.loggers import WandbLogger

from igcl_lightning.callbacks import RetrievalSheet
from igcl_lightning.callbacks.retrieval_sheet import retrieve
from igcl_lightning.callbacks.validation_pairs import ValidationPairs
from igcl_lightning.run_folder import run_folder


def run(data, sides=("image", "graph")):
    return SimpleNamespace(datamodule=data, lightning_module=SimpleNamespace(sides=sides))


def drawn_titles(figure):
    return [axes.get_title() for axes in figure.axes]


def four_pairs():
    return ValidationPairs(
        pixels=torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        first=torch.tensor([[0.8, 0.1, 0.5, 0.2], [0.9, 0.1, 0.2, 0.3], [0, 0, 1, 0], [0, 0, 0, 1]]),
        second=torch.eye(4),
        graph_key=torch.tensor([5, -1, 5, -1]),
        study=torch.arange(4),
        patient=torch.arange(4),
        row=torch.arange(1000, 1004),
    )


def test_more_reports_than_there_are_show_all(data):
    figure = RetrievalSheet(top_k=9).draw(four_pairs(), run(data))
    assert len(figure.axes) == 2 * (2 + 4)


def test_the_sheet_shows_images_and_marks_right_reports(data):
    """Image 0 finds its own report, then that of equal graph 2; image 1, of an empty graph, finds others first."""
    pairs = four_pairs()
    figure = RetrievalSheet(num_images=2, top_k=2).draw(pairs, run(data))
    assert drawn_titles(figure) == [
        "",
        "own report: rank 1 of 4",
        "1. own report, 0.80",
        "2. states the same, 0.50",
        "",
        "own report: rank 4 of 4",
        "1. other report, 0.90",
        "2. other report, 0.30",
    ]
    texts = [axes.texts[0].get_text() for axes in figure.axes if axes.texts]
    assert texts[:2] == ["(empty report)"] * 2
    assert texts[2].startswith("Findings of 1002 cost $5 or $6.\n")
    assert texts[2].endswith("\n...")


def test_a_patient_asks_once_and_a_study_is_found_once():
    """Rows 0 and 1 are two images of one study, row 2 the same patient's next, row 3 another's."""
    pairs = four_pairs()._replace(study=torch.tensor([8, 8, 9, 7]), patient=torch.tensor([3, 3, 3, 1]))
    answer = retrieve(pairs, top_k=4)
    assert answer.query.tolist() == [0, 3]
    assert answer.found.tolist() == [[0, 2, 3], [3, 0, 2]]
    assert (answer.own_rank.tolist(), answer.num_reports) == ([1, 1], 3)


def test_fit_writes_a_picture(make_trainer, module, data, tmp_path):
    make_trainer(RetrievalSheet(num_images=3, every_n_epochs=10)).fit(module, data)
    assert matplotlib.image.imread(tmp_path / "plots" / "retrieval_sheet.png").std() > 0.02


def test_validate_writes_a_picture(make_trainer, module, data, tmp_path):
    make_trainer(RetrievalSheet(num_images=1)).validate(module, data, verbose=False)
    assert (tmp_path / "plots" / "retrieval_sheet.png").exists()


@pytest.mark.parametrize(("every_n_epochs", "pictures"), [(1, 5), (2, 3), (3, 2), (10, 1)])
def test_it_draws_every_few_epochs_and_at_the_end(make_trainer, module, data, monkeypatch, every_n_epochs, pictures):
    sizes = []
    monkeypatch.setattr(
        RetrievalSheet, "draw", lambda self, pairs, trainer: sizes.append((len(pairs.pixels), len(pairs.row)))
    )
    sheet = RetrievalSheet(num_images=10, max_pairs=20, every_n_epochs=every_n_epochs)
    make_trainer(sheet, max_epochs=5).fit(module, data)
    assert sizes == [(7, 20)] * pictures


def test_without_texts_or_embeddings_nothing_is_drawn(make_trainer, module, data, data_without_texts, tmp_path):
    make_trainer(RetrievalSheet(every_n_epochs=1), max_epochs=1).fit(module, data_without_texts)
    module.validation_step = lambda batch, batch_idx: None
    make_trainer(RetrievalSheet(every_n_epochs=1), max_epochs=1).fit(module, data)
    assert not (tmp_path / "plots").exists()


def test_another_first_side_is_shown_by_its_reports(data):
    figure = RetrievalSheet(top_k=1).draw(four_pairs(), run(data, ("signal", "graph")))
    assert drawn_titles(figure)[:2] == ["own report: rank 1 of 4", "1. own report, 0.80"]
    assert not any(axes.images for axes in figure.axes)
    columns, rows = RetrievalSheet(top_k=1).table(four_pairs(), run(data, ("signal", "graph")))
    assert columns == ["own report", "rank of own report", "found 1", "found 1 is", "cosine 1"]
    assert rows[0][1:] == [1, "", "own report", pytest.approx(0.8)]


def test_the_table_says_what_the_picture_says(data):
    columns, rows = RetrievalSheet(top_k=2).table(four_pairs(), run(data))
    assert columns[:4] == ["image", "own report", "rank of own report", "found 1"]
    assert len(rows) == 2
    image, own, rank, *found = rows[1]
    assert image.image.size == (8, 8)
    assert (own, rank) == (data.report_text(1001), 4)
    assert found[:3] == [data.report_text(1000), "other report", pytest.approx(0.9)]
    assert found[3:] == [data.report_text(1003), "other report", pytest.approx(0.3)]


def test_weights_and_biases_gets_picture_and_table(make_trainer, module, data, tmp_path, monkeypatch):
    images, tables = [], []
    logger = WandbLogger(save_dir=tmp_path, name="run", version="v1", project="igcl", offline=True)
    monkeypatch.setattr(WandbLogger, "experiment", SimpleNamespace(config={}, id="x", dir="y"))
    monkeypatch.setattr(WandbLogger, "log_metrics", lambda self, metrics, step=None: None)
    monkeypatch.setattr(WandbLogger, "log_image", lambda self, **options: images.append(options))
    monkeypatch.setattr(WandbLogger, "log_table", lambda self, *values, **options: tables.append((values, options)))
    trainer = make_trainer(RetrievalSheet(num_images=3), max_epochs=1, logger=logger)
    trainer.fit(module, data)
    picture = run_folder(trainer) / "plots" / "retrieval_sheet.png"
    assert images == [{"key": "plots/retrieval_sheet", "images": [str(picture)], "step": 3}]
    assert picture.exists()
    [((key, columns, rows), options)] = tables
    assert (key, options) == ("retrieval", {"step": 3})
    assert [len(row) for row in rows] == [len(columns)] * 3


def test_without_texts_weights_and_biases_gets_no_table(
    make_trainer, module, data_without_texts, tmp_path, monkeypatch
):
    logger = WandbLogger(save_dir=tmp_path, name="run", version="v1", project="igcl", offline=True)
    monkeypatch.setattr(WandbLogger, "experiment", SimpleNamespace(config={}, id="x", dir="y"))
    monkeypatch.setattr(WandbLogger, "log_metrics", lambda self, metrics, step=None: None)
    monkeypatch.setattr(WandbLogger, "log_table", lambda self, *values, **options: pytest.fail("a table"))
    make_trainer(RetrievalSheet(), max_epochs=1, logger=logger).fit(module, data_without_texts)
