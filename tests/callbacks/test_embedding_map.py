from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch

from igcl_lightning.callbacks import EmbeddingMap
from igcl_lightning.callbacks.embedding_map import plane
from igcl_lightning.callbacks.validation_pairs import ValidationPairs


def pairs(count=8):
    vectors = torch.randn(2, count, 6, generator=torch.Generator().manual_seed(0))
    image, graph = torch.nn.functional.normalize(vectors, dim=-1)
    return ValidationPairs(torch.zeros(0), image, graph, torch.arange(count), torch.arange(1000, 1000 + count))


def legend(figure):
    (box,) = figure.legends
    return box.get_title().get_text(), [text.get_text() for text in box.get_texts()]


@pytest.mark.parametrize("count", [4, 9, 10, 40])
def test_plane_keeps_two_clusters_apart_and_repeats_itself(count):
    generator = np.random.default_rng(0)
    cluster = np.arange(count) % 2
    embeddings = (generator.normal(size=(count, 5)) * 0.05 + 3 * cluster[:, None]).astype(np.float32)
    places = plane(embeddings)
    assert places.shape == (count, 2)
    np.testing.assert_array_equal(places, plane(embeddings))
    own = np.linalg.norm(places - places[cluster == 0].mean(axis=0), axis=1)
    other = np.linalg.norm(places - places[cluster == 1].mean(axis=0), axis=1)
    np.testing.assert_array_equal(own > other, cluster == 1)


def test_the_most_balanced_label_colours_the_map(data):
    figure = EmbeddingMap().draw(pairs(), SimpleNamespace(datamodule=data))
    names = ["image, present", "image, absent", "graph, present", "graph, absent"]
    assert legend(figure) == ("Half", names)


def test_a_chosen_label_shows_rows_where_it_is_not_known(data):
    figure = EmbeddingMap(label="Part").draw(pairs(), SimpleNamespace(datamodule=data))
    names = ["image, present", "image, not known", "graph, present", "graph, not known"]
    assert legend(figure) == ("Part", names)


def test_a_label_that_no_row_has_is_named(data):
    with pytest.warns(UserWarning, match=r"EmbeddingMap\.label: 'Edma' is not known for any row, only \['Rare'"):
        figure = EmbeddingMap(label="Edma").draw(pairs(), SimpleNamespace(datamodule=data))
    assert legend(figure) == ("", ["image", "graph"])


def test_without_labels_the_map_shows_modalities(data_without_texts):
    figure = EmbeddingMap().draw(pairs(), SimpleNamespace(datamodule=data_without_texts))
    assert legend(figure) == ("", ["image", "graph"])


def test_too_few_or_diverged_embeddings_give_no_map(data):
    trainer = SimpleNamespace(datamodule=data)
    assert EmbeddingMap().draw(pairs(1), trainer) is None
    assert EmbeddingMap().draw(pairs()._replace(image=torch.full((8, 6), torch.nan)), trainer) is None


def test_fit_writes_a_picture(make_trainer, module, data, tmp_path):
    make_trainer(EmbeddingMap(every_n_epochs=2)).fit(module, data)
    assert matplotlib.image.imread(tmp_path / "plots" / "embedding_map.png").std() > 0.02
