from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch

from igcl_lightning.callbacks import EmbeddingMap
from igcl_lightning.callbacks.embedding_map import plane
from igcl_lightning.callbacks.validation_pairs import ValidationPairs
from igcl_lightning.errors import IgclError


def pairs(count=8):
    vectors = torch.randn(2, count, 6, generator=torch.Generator().manual_seed(0))
    first, second = torch.nn.functional.normalize(vectors, dim=-1)
    number = torch.arange(count)
    return ValidationPairs(torch.zeros(0), first, second, number, number, number, 1000 + number)


def run(data, sides=("image", "graph")):
    return SimpleNamespace(datamodule=data, lightning_module=SimpleNamespace(sides=sides))


def legend(figure):
    (box,) = figure.legends
    return box.get_title().get_text(), [text.get_text() for text in box.get_texts()]


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("tsne", 4),
        ("tsne", 9),
        ("tsne", 10),
        ("tsne", 40),
        ("umap", 9),
        pytest.param("umap", 40, marks=pytest.mark.soak),  # it compiles for half a minute
    ],
)
def test_plane_keeps_two_clusters_apart_and_repeats_itself(method, count):
    generator = np.random.default_rng(0)
    cluster = np.arange(count) % 2
    embeddings = (generator.normal(size=(count, 5)) * 0.05 + 3 * cluster[:, None]).astype(np.float32)
    places = plane(embeddings, method)
    assert places.shape == (count, 2)
    np.testing.assert_array_equal(places, plane(embeddings, method))
    own = np.linalg.norm(places - places[cluster == 0].mean(axis=0), axis=1)
    other = np.linalg.norm(places - places[cluster == 1].mean(axis=0), axis=1)
    np.testing.assert_array_equal(own > other, cluster == 1)


def test_the_most_balanced_label_colours_the_map(data):
    figure = EmbeddingMap().draw(pairs(), run(data))
    names = ["image, present", "image, absent", "graph, present", "graph, absent"]
    assert legend(figure) == ("Half", names)


def test_a_chosen_label_shows_rows_where_it_is_not_known(data):
    figure = EmbeddingMap(label="Part").draw(pairs(), run(data))
    names = ["image, present", "image, not known", "graph, present", "graph, not known"]
    assert legend(figure) == ("Part", names)


def test_a_label_that_no_row_has_is_named(data):
    with pytest.warns(UserWarning, match=r"EmbeddingMap\.label: 'Edma' is unknown for all rows, known are \['Rare'"):
        figure = EmbeddingMap(label="Edma").draw(pairs(), run(data))
    assert legend(figure) == ("", ["image", "graph"])


def test_without_labels_the_map_shows_modalities(data_without_texts):
    figure = EmbeddingMap().draw(pairs(), run(data_without_texts))
    assert legend(figure) == ("", ["image", "graph"])


def test_the_legend_speaks_of_the_modules_sides(data_without_texts):
    figure = EmbeddingMap().draw(pairs(), run(data_without_texts, ("image", "report")))
    assert legend(figure) == ("", ["image", "report"])


def test_a_caption_says_why_two_encoders_lie_apart(data_without_texts):
    trainer = run(data_without_texts)
    module = trainer.lightning_module
    module.image_encoder = module.graph_encoder = "the same for both, as in SimCLR"
    assert EmbeddingMap().draw(pairs(), trainer).get_supxlabel() == ""
    module.graph_encoder = "another"
    caption = EmbeddingMap().draw(pairs(), trainer).get_supxlabel()
    assert caption.startswith("Image and graph may lie apart (modality gap): their encoders start apart")


def test_a_map_that_cannot_be_drawn_is_refused_before_training(monkeypatch):
    with pytest.raises(IgclError, match=r"EmbeddingMap\.method is 'pca', not one of tsne, umap"):
        EmbeddingMap(method="pca")
    monkeypatch.setattr("igcl_lightning.callbacks.embedding_map.find_spec", lambda name: None)
    with pytest.raises(IgclError, match=r"needs umap-learn: pip install 'igcl-lightning\[umap\]'"):
        EmbeddingMap(method="umap")


def test_too_few_or_diverged_embeddings_give_no_map(data):
    trainer = run(data)
    assert EmbeddingMap().draw(pairs(1), trainer) is None
    assert EmbeddingMap().draw(pairs()._replace(first=torch.full((8, 6), torch.nan)), trainer) is None


def test_fit_writes_a_picture(make_trainer, module, data, tmp_path):
    make_trainer(EmbeddingMap(every_n_epochs=2)).fit(module, data)
    assert matplotlib.image.imread(tmp_path / "plots" / "embedding_map.png").std() > 0.02
