"""A module and data just large enough for the callbacks: images are noise, graphs are one-hot keys."""

from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from igcl_lightning.modules.contrastive import PairEmbedding

ROWS = 24


class Batch(NamedTuple):
    image: torch.Tensor
    graph: torch.Tensor
    graph_key: torch.Tensor
    target: torch.Tensor
    study: torch.Tensor
    patient: torch.Tensor
    row: torch.Tensor


class Pairs(Dataset):
    def __len__(self):
        return ROWS

    def __getitem__(self, index):
        key = -1 if index == 0 else index % 7
        image = torch.randint(0, 256, (1, 16, 16), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
        target = torch.tensor([index % 2, torch.nan if index % 3 else 1.0 - index % 2, torch.nan])
        # Two rows a study; the last twelve rows are of one patient.
        ids = (torch.tensor(index // 2), torch.tensor(min(index // 2, 6)), torch.tensor(1000 + index))
        return Batch(image, torch.eye(8)[key], torch.tensor(key), target, *ids)


class TinyModule(LightningModule):
    sides = ("image", "graph")

    def __init__(self):
        super().__init__()
        self.image_encoder = torch.nn.Linear(256, 8)
        self.graph_encoder = torch.nn.Linear(8, 8)

    def forward(self, batch):
        pooled = self.image_encoder(batch.image.float().flatten(1) / 255)
        graph = self.graph_encoder(batch.graph)
        first, second = (torch.nn.functional.normalize(vectors, dim=1) for vectors in (pooled, graph))
        return PairEmbedding(first, second, pooled, batch.row)

    def step(self, batch, stage):
        embedding = self(batch)
        loss = torch.nn.functional.cross_entropy(embedding.first @ embedding.second.T, torch.arange(len(batch.row)))
        self.log(f"{stage}/loss", loss, on_step=stage == "train", on_epoch=True)
        return loss, embedding

    def training_step(self, batch, batch_idx):
        loss, embedding = self.step(batch, "train")
        return {"loss": loss, "embedding": PairEmbedding(*(value.detach() for value in embedding))}

    def validation_step(self, batch, batch_idx):
        return self.step(batch, "val")[1]

    def on_validation_epoch_end(self):
        self.log("val/image_to_graph_recall@5", 0.1 * (self.current_epoch + 1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class TinyData(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(Pairs(), batch_size=8)

    def val_dataloader(self):
        return DataLoader(Pairs(), batch_size=8)


class TinyDataWithTexts(TinyData):
    def report_text(self, row):
        return "" if row == 1000 else f"Findings of {row} cost $5 or $6.\nNo effusion. " + "The lungs are clear. " * 40

    def row_labels(self, row):
        return {"Rare": float(row == 1001), "Half": float(row % 2), "Never known": None, "Part": [None, 1.0][row % 2]}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return TinyModule()


@pytest.fixture
def data():
    return TinyDataWithTexts()


@pytest.fixture
def data_without_texts():
    return TinyData()


@pytest.fixture
def make_trainer(tmp_path):
    def make(*callbacks, max_epochs=2, logger=False, enable_checkpointing=False, **options):
        return Trainer(
            accelerator="cpu",
            max_epochs=max_epochs,
            callbacks=list(callbacks),
            logger=logger,
            enable_checkpointing=enable_checkpointing,
            default_root_dir=tmp_path,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            **options,
        )

    return make
