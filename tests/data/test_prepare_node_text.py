"""A language model's features of graph nodes on their way from `prepare` to a batch."""

from functools import partial

import numpy as np
import pytest
import torch

from igcl_lightning.cli import main
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.modules import IGCL
from igcl_lightning.phantom import phantom_study
from stores import prepare_studies

pytest.importorskip("transformers", reason="the extra `text` is not installed")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    from tiny_bert import save_tiny_bert

    return save_tiny_bert(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="module")
def store(bert, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "phantom"
    studies = [partial(phantom_study, index, size=64) for index in range(24)]
    prepare_studies(studies, path, options=Options(size=64, node_text=str(bert)))
    return path


def test_stored_features_are_those_of_the_model(store, bert):
    from igcl_lightning.graphs.node_text import NodeText

    model = NodeText(str(bert))
    opened = Store(store)
    assert opened.manifest["node_text"] == {"model": model.name, "channels": model.channels}
    study = phantom_study(0, size=64)
    split = study.split
    index = opened.column(split, "row").index(study.images[0].image_id)
    stored = PairDataset(opened, split, node_text=True)[index].graph.text
    np.testing.assert_array_equal(stored.numpy(), model(study.graph).astype(np.float32))


def test_igcl_trains_on_them(store):
    data = PairedDataModule(str(store), batch_size=4, node_text=True)
    batch = next(iter(data.train_dataloader()))
    channels = Store(store).node_text_channels
    module = IGCL(image={"backbone": "test_resnet", "size": 32}, graph={"channels": 16, "node_text_channels": channels})
    loss = module.contrast_batch(batch)[0]
    assert torch.isfinite(loss)
    changed = batch.graph.clone()
    changed.text = changed.text + 1
    assert not torch.allclose(module(batch).second, module(batch._replace(graph=changed)).second)


def test_the_command_line_stores_them(bert, tmp_path):
    words = ["prepare", "phantom", "--count", "6", "--size", "64", "--out", str(tmp_path / "store")]
    assert not main([*words, "--node-text", str(bert), "--node-text-word", "sum"])
    assert Store(tmp_path / "store").manifest["node_text"]["model"].endswith("-sum")
