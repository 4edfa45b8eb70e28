import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from igcl_lightning.data.features import frozen_features, read_features
from igcl_lightning.data.row_datasets import LabeledDataset
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.pretrained import PretrainedEncoder
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.phantom import FINDINGS


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
        features(PretrainedEncoder(ImageEncoder(ImageOptions("test_byobnet", size))), loader, tmp_path)
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


FEATURE = {"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]}


def file_of(folder, row, feature):
    pd.DataFrame({"row": row, "feature": feature}).to_parquet(folder / "features.parquet")
    return folder / "features.parquet"


@pytest.mark.parametrize("kind", [list, np.float32, np.float64])
def test_features_of_a_file_come_in_the_order_of_the_rows(tmp_path, kind):
    feature = [value if kind is list else np.array(value, dtype=kind) for value in FEATURE.values()]
    got = read_features(file_of(tmp_path, list(FEATURE), feature), ["c", "a"])
    torch.testing.assert_close(got, torch.tensor([FEATURE["c"], FEATURE["a"]]))


@pytest.mark.parametrize(
    ("row", "feature", "message"),
    [
        (["a"], [[1.0]], "features.parquet: lacks the features of 2 of 3 rows (first: 'b')"),
        (["a", "b", "c", "b"], [[1.0]] * 4, "features.parquet: row 'b' occurs more than once"),
        (["a", "b", "c"], [[1.0], [1.0, 2.0], [1.0]], "features.parquet: features have no or different lengths: 1, 2"),
        (["a", "b", "c"], [[1.0], None, [1.0]], "features.parquet: features have no or different lengths: 1, None"),
        (["a", "b", "c"], [[1.0], [np.nan], [1.0]], "the feature of row 'b' has a number that is not finite"),
        (["a", "b", "c"], [1.0, 2.0, 3.0], "features.parquet: column feature contains double, not lists of numbers"),
        (["a", "b", "c"], [["x"], ["y"], ["z"]], "not lists of numbers"),
    ],
)
def test_a_wrong_file_of_features_is_named(tmp_path, row, feature, message):
    with pytest.raises(IgclError) as error:
        read_features(file_of(tmp_path, row, feature), ["a", "b", "c"])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_of_features_is_named(tmp_path):
    with pytest.raises(IgclError, match="gone.parquet: no such file of features"):
        read_features(tmp_path / "gone.parquet", ["a"])
    (tmp_path / "text.parquet").write_text("no table")
    pd.DataFrame({"row": ["a"], "image": [[1.0]]}).to_parquet(tmp_path / "other.parquet")
    for name in ("text", "other"):
        with pytest.raises(IgclError, match=f"{name}.parquet: not a Parquet file with columns row and feature"):
            read_features(tmp_path / f"{name}.parquet", ["a"])


def test_two_at_once_compute_the_same_features(loader, tmp_path, monkeypatch):
    """Both find no file, and write theirs before either has it complete."""
    both, write = threading.Barrier(2), pa.ipc.RecordBatchFileWriter.write_table

    def write_together(self, table):
        both.wait(timeout=10)
        write(self, table)
        both.wait(timeout=10)

    monkeypatch.setattr(pa.ipc.RecordBatchFileWriter, "write_table", write_together)
    encoders = [Counting(), Counting()]  # before the loaders of threads draw random numbers
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(features, encoder, loader, tmp_path) for encoder in encoders]
        first, second = (job.result() for job in jobs)
    torch.testing.assert_close(first, second)
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".arrow"
