import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from igcl_lightning.data.features import frozen_features
from igcl_lightning.data.modules import LabeledDataset
from igcl_lightning.data.phantom import FINDINGS
from igcl_lightning.data.store import Store
from igcl_lightning.modules.linear_probe import PooledFeatures
from igcl_lightning.nn.image_encoder import ImageEncoder


class Counting(nn.Module):
    """A tiny encoder that counts how often it runs."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.map = nn.Linear(64, 5)
        self.norm = nn.BatchNorm1d(5)
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        return self.norm(self.map(image.float().mean(dim=2)[:, 0]))


@pytest.fixture
def loader(phantom_store):
    return DataLoader(LabeledDataset(Store(phantom_store), "valid", FINDINGS), batch_size=4)


def features(encoder, loader, folder, content="a"):
    return frozen_features(encoder, loader, folder, content, torch.device("cpu"))


def test_features_are_the_encoders_in_evaluation_mode(loader, tmp_path):
    encoder = Counting().train()
    got = features(encoder, loader, tmp_path)
    encoder.eval()
    with torch.no_grad():
        expected = torch.cat([encoder(batch.image) for batch in loader])
    torch.testing.assert_close(got, expected)


def test_the_second_time_nothing_is_computed(loader, tmp_path):
    first = features(Counting(), loader, tmp_path)
    again = Counting()
    torch.testing.assert_close(features(again, loader, tmp_path), first)
    assert again.calls == 0


def test_the_size_an_encoder_works_at_is_part_of_the_key(loader, tmp_path):
    for size in (32, 64):
        torch.manual_seed(0)
        features(PooledFeatures(ImageEncoder("test_byobnet", size)), loader, tmp_path)
    assert len(list(tmp_path.glob("*.arrow"))) == 2


@pytest.mark.parametrize("change", ["weights", "running statistics", "content"])
def test_anything_that_changes_the_features_changes_the_key(loader, tmp_path, change):
    features(Counting(), loader, tmp_path)
    other = Counting(seed=1 if change == "weights" else 0)
    if change == "running statistics":
        other.norm.running_mean += 1
    features(other, loader, tmp_path, "b" if change == "content" else "a")
    assert other.calls > 0
    assert len(list(tmp_path.glob("*.arrow"))) == 2
