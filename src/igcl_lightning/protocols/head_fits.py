"""Fits of heads on labelled rows, as several protocols need them, and the checks of their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pandas as pd
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from igcl_lightning.callbacks.outputs import KeepPredictions
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.modules.classifier import ClassifierModule
from igcl_lightning.modules.fine_tune import FineTune
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.nn.checks import check_at_least, check_positive
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.protocol import Part, Protocol, ScoringProtocol

VALIDATIONS = 20
"""About how often a training of images is validated."""


@dataclass(frozen=True)
class DrawnTraining(Protocol):
    """Base class of protocols that train at shares of the training rows, in several draws; a draw of a share is a part.

    A draw has its own rows, new weights and order of rows; where all rows are used, draws differ in the latter two.

    Args:
        fractions: shares of the training rows.
        draws: draws of each share, the same rows for all encoders.
        epochs: most epochs at each fraction.
        learning_rate: peak learning rate.
        patience: validations in a row without a better one after which training ends; there are about `VALIDATIONS`.
    """

    fractions: list[float] = field(default_factory=lambda: [0.01, 0.1, 1.0])
    draws: int = 3
    epochs: list[int] = field(default_factory=lambda: [100, 40, 20])
    learning_rate: float = 1e-3
    patience: int = 5

    statistics: ClassVar[tuple[str, ...]] = ("fractions", "draws", "epochs")

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` for wrong options, as other protocols do."""
        check_fractions(self.name, self.fractions)
        check_epochs(self.name, "epochs", self.epochs, self.fractions)
        check_positive(f"protocol {self.name}: learning_rate", self.learning_rate)
        check_at_least(f"protocol {self.name}: draws", self.draws, 1)
        check_at_least(f"protocol {self.name}: patience", self.patience, 1)
        super().check(store, contestants)

    def parts(self, contestant: Contestant) -> list[Part]:
        """Return a part for each draw of each fraction."""
        return [{"fraction": fraction, "draw": draw} for fraction in self.fractions for draw in range(self.draws)]

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options that one draw depends on."""
        return super().settings(contestant, part) | {"epochs": self.epochs_of(part)}

    def epochs_of(self, part: Part) -> int:
        """Return the most epochs at the fraction of a part."""
        return self.epochs[self.fractions.index(part["fraction"])]


def encoder_of(contestant: Contestant) -> dict[str, Any]:
    """Return arguments of a head that select an encoder like that of a contestant, which may not be pretrained yet."""
    return contestant.encoder or {"image": dict(contestant.architecture)}


def fit_head(protocol: ScoringProtocol, module: ClassifierModule, store: Store, **setting: Any) -> pd.DataFrame:
    """Return the predictions of a head after one epoch.

    Args:
        protocol: says which splits and labels are scored.
        module: the head, which is fitted in place.
        store: store with the splits "train" and "valid".
        setting: options of `LabeledDataModule`, such as the fraction.
    """
    kept, data = KeepPredictions(), labelled_rows(protocol, store, **setting)
    fitting = _trainer(kept, enable_checkpointing=False, max_epochs=1)
    fitting.fit(module, data)
    fitting.predict(module, data, return_predictions=False)
    return kept.frame


def labelled_rows(protocol: ScoringProtocol, store: Store, **setting: Any) -> LabeledDataModule:
    """Return the rows that heads of a protocol are fitted on, and of which they predict those that it scores."""
    splits, labels = protocol.scored_splits(store), protocol.labels_of(store)
    return LabeledDataModule(str(store.path), labels=labels, predict_splits=splits, **setting)


def fit_best(
    module: LightningModule, data: LightningDataModule, kept: Callback, *, monitor: str, epochs: int, patience: int
) -> None:
    """Train until a validation metric stops rising, and predict with the best epoch.

    Args:
        module: the module, which is fitted in place.
        data: its data.
        kept: keeps the predictions.
        monitor: name of the metric.
        epochs: most epochs; there are about `VALIDATIONS` validations.
        patience: validations in a row without a better one after which training ends.

    Raises:
        IgclError: the metric has no value on the validation rows, such as the Dice of masks that none of them has.
    """
    every = max(1, epochs // VALIDATIONS)
    with TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor=monitor, mode="max")
        stop = EarlyStopping(monitor, mode="max", patience=patience)
        options: dict[str, Any] = {"max_epochs": epochs, "check_val_every_n_epoch": every, "gradient_clip_val": 1.0}
        fitting = _trainer(kept, best, stop, **options)
        fitting.fit(module, data)
        if best.best_model_score is None or not best.best_model_score.isfinite():
            raise IgclError(f"{monitor} has no value on the validation rows, so that no epoch can be chosen by it")
        fitting.predict(module, data, return_predictions=False, ckpt_path="best", weights_only=True)


def _trainer(*callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        callbacks=[*callbacks],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        devices=1,
        **options,
    )


def train_images(
    protocol: ScoringProtocol,
    store: Store,
    head: Mapping[str, Any],
    *,
    seed: int,
    fraction: float,
    epochs: int,
    learning_rate: float,
    patience: int,
) -> pd.DataFrame:
    """Return the predictions of the best epoch of a `FineTune`, by the mean AUROC on validation rows.

    Args:
        protocol: says which splits and labels are scored.
        store: store with the splits "train" and "valid".
        head: arguments of `FineTune` that say which encoder is trained, and how.
        seed: seed of the drawn rows, of new weights and of the order of the rows.
        fraction: labelled share of the training rows.
        epochs: most epochs.
        learning_rate: peak learning rate.
        patience: validations in a row without a better one after which training ends.
    """
    seed_everything(seed, verbose=False)
    module, kept = FineTune(**head, optim=OptimOptions(learning_rate)), KeepPredictions()
    data = labelled_rows(protocol, store, draw_seed=seed, fraction=fraction)
    fit_best(module, data, kept, monitor="val/auroc_mean", epochs=epochs, patience=patience)
    return kept.frame


def check_labelled(protocol: Protocol, store: Store) -> None:
    """Raise `IgclError` for a store without labels, or without the splits to train and to choose on."""
    if not protocol.labels_of(store):
        raise IgclError(f"{store.path}: has no labels for the protocol {protocol.name}")
    for split in ("train", "valid"):
        if split not in store.splits:
            raise IgclError(f"{store.path}: has no split {split!r} for the protocol {protocol.name}")


def check_fractions(protocol: str, fractions: Sequence[float]) -> None:
    """Raise `IgclError` for fractions that are no shares, or not different."""
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise IgclError(f"protocol {protocol}: fractions are {fractions}, not numbers above 0 and at most 1")
    if len({f"{fraction:g}" for fraction in fractions}) < len(fractions):
        raise IgclError(f"protocol {protocol}: fractions are {fractions}: one is given twice")


def check_epochs(protocol: str, option: str, epochs: Sequence[int], fractions: Sequence[float]) -> None:
    """Raise `IgclError` unless there is a number of epochs for each fraction."""
    if len(epochs) != len(fractions) or min(epochs) < 1:
        raise IgclError(f"protocol {protocol}: {option} are {epochs}, not {len(fractions)} numbers of at least 1")
