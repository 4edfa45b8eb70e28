"""RotatE embeddings of entities (`nn.rotate`), fitted to the training reports before a pretraining starts."""

from __future__ import annotations

import time

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from igcl_lightning.data.interfaces import training_graphs
from igcl_lightning.nn.rotate import RotatedText, Triples, embeddings, fit_rotate


def fit_entities(module: LightningModule) -> None:
    """Fit the embeddings of a module that has none to the relations of the training reports; all processes call this.

    A fit that resumes has those of its checkpoint; a sharded one (FSDP2) gets them after this, in place of its own.

    Raises:
        IgclError: there is no data module, it cannot give all training reports, or they have no relation.
    """
    trainer = module.trainer
    for text in (part for part in module.modules() if isinstance(part, RotatedText) and not part.fitted):
        # On each process, so that all of them raise. One process fits: others could differ in the last bits.
        triples = text.triples(training_graphs(trainer, "model.graph.rotate_channels"))
        fitted = _fit(triples, text.out_channels) if trainer.is_global_zero else None
        key, vector = trainer.strategy.broadcast(fitted)  # type: ignore[misc]  # that of the first process
        text.store(key, vector)


def _fit(triples: Triples, channels: int) -> tuple[Tensor, Tensor]:
    """Return the keys and the embeddings of entities, and log what was fitted."""
    start = time.monotonic()
    vector = embeddings(fit_rotate(triples, channels))
    rank_zero_info(
        f"model.graph.rotate_channels: fitted RotatE to {len(triples.head):,} different relations of "
        f"{len(triples.key):,} entities in {time.monotonic() - start:.1f} s"
    )
    return triples.key, vector
