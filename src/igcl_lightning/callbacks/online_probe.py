"""A linear probe that trains alongside the encoder."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.utils import skip_init

from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.losses.classification import masked_cross_entropy
from igcl_lightning.metrics.clinical import MultilabelAuroc, macro_mean
from igcl_lightning.modules.contrastive import PairEmbedding


class OnlineProbe(Callback):
    """Trains a linear head per label beside a contrastive module, and logs its AUROC after each validation.

    The head reads the detached encoding of the first side, normalised per row, and has its own optimiser: the training
    of the module is bit for bit the same without it. It logs `val/online_auroc_{label}`, their mean
    `val/online_auroc_mean`, and the number of labels in the mean, `val/online_auroc_labels`. It uses all training
    labels and a changing encoder: use it to watch a run, not to compare methods. Without labels it does nothing.

    Args:
        labels: names of the labels (default: all of the store's).
        learning_rate: learning rate of the head's AdamW.
    """

    def __init__(self, labels: list[str] | None = None, learning_rate: float = 0.01) -> None:
        self.labels = labels
        self.learning_rate = learning_rate
        self.auroc = MultilabelAuroc()
        self._names: list[str] = []
        self._columns: list[int] = []
        self._built: tuple[nn.Linear, torch.optim.Optimizer] | None = None
        self._resumed: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Look up the labels, and raise an `IgclError` if the store lacks one."""
        known, names = self._labels_of(getattr(trainer, "datamodule", None))
        if not known and stage == "fit":
            rank_zero_warn("OnlineProbe: the data has no labels, nothing is probed")
        if unknown := [name for name in names if name not in known]:
            near = suggestion(unknown[0], known)
            raise IgclError(f"OnlineProbe.labels: the store has no label {unknown[0]!r}{near}; only {', '.join(known)}")
        self._names, self._columns = names, [known.index(name) for name in names]

    def logged_metrics(self, module: Any, data: Any) -> set[str]:
        """Return the names of the logged metrics; none if the data have no labels."""
        _, labels = self._labels_of(data)
        return {f"val/online_auroc_{name}" for name in (*labels, "mean", "labels")} if labels else set()

    def _labels_of(self, data: Any) -> tuple[list[str], list[str]]:
        """Return the labels of a data module, and those that are probed."""
        known = list(getattr(getattr(data, "store", None), "labels", ()))
        return known, known if self.labels is None or not known else self.labels

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Train the head for one step on the features of the module's step."""
        embedding = outputs.get("embedding") if isinstance(outputs, dict) else None
        if not self._names or not isinstance(embedding, PairEmbedding):
            return
        head, optimizer = self._ready(embedding.pooled)
        loss = masked_cross_entropy(_logits(head, embedding.pooled), batch.target[:, self._columns])
        optimizer.zero_grad()
        loss.backward()
        for parameter in head.parameters():
            parameter.grad = trainer.strategy.reduce(parameter.grad, reduce_op="mean")
        optimizer.step()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Score a batch."""
        trained = self._built or self._resumed
        if not self._names or not trained or trainer.sanity_checking or not isinstance(outputs, PairEmbedding):
            return
        with torch.no_grad():
            logits = _logits(self._ready(outputs.pooled)[0], outputs.pooled)
        self.auroc.to(outputs.row.device).update(logits, batch.target[:, self._columns], outputs.row)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Log the AUROC over the whole validation split, without labels of one class."""
        if not self.auroc.update_called:
            return
        values = self.auroc.compute()
        self.auroc.reset()
        mean, count = macro_mean(values)
        logged = {name: value for name, value in zip(self._names, values, strict=True) if not value.isnan()}
        logged |= {"mean": mean, "labels": torch.tensor(float(count))}
        # Already equal on all processes; Lightning warns without `sync_dist`.
        pl_module.log_dict({f"val/online_auroc_{name}": value for name, value in logged.items()}, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """Return head and optimiser, for the checkpoint."""
        if self._built is None:
            return self._resumed
        head, optimizer = self._built
        return {"labels": self._names, "head": head.state_dict(), "optimizer": optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the head of a checkpoint, if it has the same labels."""
        self._built, self._resumed = None, state_dict

    def _ready(self, pooled: Tensor) -> tuple[nn.Linear, torch.optim.Optimizer]:
        """Return head and optimiser, built when the width of the features is known."""
        if self._built is None:
            # Start a convex problem at zero, without drawing random numbers of the module.
            head = skip_init(nn.Linear, pooled.shape[1], len(self._names), device=pooled.device)
            for parameter in head.parameters():
                nn.init.zeros_(parameter)
            optimizer = torch.optim.AdamW(head.parameters(), self.learning_rate)
            if self._resumed.get("labels") == self._names:
                head.load_state_dict(self._resumed["head"])
                optimizer.load_state_dict(self._resumed["optimizer"])
            self._built = head, optimizer
        return self._built


def _logits(head: nn.Linear, pooled: Tensor) -> Tensor:
    logits: Tensor = head(F.layer_norm(pooled.float(), pooled.shape[1:]))
    return logits
