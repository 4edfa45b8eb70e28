"""Linear and few-shot probes of image encoders, and supervised training from scratch on the same labelled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pandas as pd
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from igcl_lightning.callbacks.outputs import KeepPredictions
from igcl_lightning.data.features import read_features
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError, write_message
from igcl_lightning.evaluation.label_savings import label_savings, savings_line, savings_record
from igcl_lightning.evaluation.results import Record
from igcl_lightning.modules.classifier import ClassifierModule
from igcl_lightning.modules.few_shot import FewShotProbe
from igcl_lightning.modules.fine_tune import FineTune
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.protocols.contestants import RANDOM, SUPERVISED, Contestant
from igcl_lightning.protocols.protocol import Part, Protocol, methods_of, pairs, score_report

VALIDATIONS = 20
"""About how often supervised training is validated."""


@dataclass(frozen=True)
class ProbeProtocol(Protocol):
    """What linear and few-shot probes share.

    Args:
        draws: draws of labelled rows of each setting, the same for all encoders; one where all rows are used.
        baseline_seeds: encoders with random weights, each with one draw; runs of supervised training, too.
    """

    draws: int = 5
    baseline_seeds: int = 3

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` for wrong options, a store without labels or splits to train on, or a missing encoder."""
        for name in ("draws", "baseline_seeds"):
            if getattr(self, name) < 1:
                raise IgclError(f"protocol {self.name}: {name} is {getattr(self, name)}, not at least 1")
        super().check(store, contestants)
        if not self.labels_of(store):
            raise IgclError(f"{store.path}: has no labels for the protocol {self.name}")
        for split in ("train", "valid"):
            if split not in store.splits:
                raise IgclError(f"{store.path}: has no split {split!r} for the protocol {self.name}")
        for contestant in contestants:
            if contestant.features is not None:
                for split in dict.fromkeys(["train", "valid", *self.splits]):
                    read_features(Path(contestant.features), store.column(split, "row"))
            elif not contestant.words and contestant.method not in (RANDOM, SUPERVISED):
                LinearProbe(**contestant.encoder)  # fail now, not after an hour of training

    def _probed(self, probe: type[LinearProbe], contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        setting: dict[str, Any] = {"draws": 1 if part.get("fraction") == 1 else self.draws, "batch_size": 256, **part}
        if contestant.method == RANDOM:
            frames = [self._of_random(probe, contestant, store, setting, seed) for seed in range(self.baseline_seeds)]
            return pd.concat(frames, ignore_index=True)
        module = probe(**contestant.encoder, name=contestant.method)
        frame = self._fitted(module, store, features=contestant.features, **setting)
        return frame.assign(seed=frame["seed"] + contestant.run_seed())

    def _of_random(
        self, probe: type[LinearProbe], contestant: Contestant, store: Store, setting: Mapping[str, Any], seed: int
    ) -> pd.DataFrame:
        seed_everything(seed, verbose=False)
        return self._fitted(probe(**contestant.encoder), store, **{**setting, "draws": 1, "draw_seed": seed})

    def _fitted(
        self,
        module: ClassifierModule,
        store: Store,
        *callbacks: Callback,
        trainer: Mapping[str, Any] = {"max_epochs": 1},
        **setting: Any,
    ) -> pd.DataFrame:
        """Return the predictions of a head after its fit; those of the best epoch if a callback keeps it."""
        splits, labels = [*self.splits], self.labels_of(store)
        data = LabeledDataModule(str(store.path), labels=labels, predict_splits=splits, **setting)
        kept = KeepPredictions()
        fitting = Trainer(
            callbacks=[kept, *callbacks],
            logger=False,
            enable_checkpointing=bool(callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            devices=1,
            **trainer,
        )
        fitting.fit(module, data)
        best = "best" if callbacks else None
        fitting.predict(module, data, return_predictions=False, ckpt_path=best, weights_only=True)
        return kept.frame

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return AUROCs, and accuracy and F1 of a set of classes (see `score_report`)."""
        return score_report(self, measured, store)


@dataclass(frozen=True)
class Linear(ProbeProtocol):
    """Linear probes at labelled shares of the training rows, and supervised training from scratch at the same.

    Supervised training ends when the validation AUROC stops rising, and the best epoch is scored.

    Args:
        fractions: labelled shares of the training rows.
        supervised_epochs: most epochs of supervised training at each fraction.
        supervised_learning_rate: its learning rate.
    """

    fractions: list[float] = field(default_factory=lambda: [0.01, 0.1, 1.0])
    supervised_epochs: list[int] = field(default_factory=lambda: [100, 40, 20])
    supervised_learning_rate: float = 1e-3

    name: ClassVar[str] = "linear"
    statistics: ClassVar[tuple[str, ...]] = (
        "resamples",
        "fractions",
        "supervised_epochs",
        "supervised_learning_rate",
    )

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other probes do, and for fractions that are wrong."""
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise IgclError(f"protocol linear: fractions are {self.fractions}, not numbers above 0 and at most 1")
        if len({f"{fraction:g}" for fraction in self.fractions}) < len(self.fractions):
            raise IgclError(f"protocol linear: fractions are {self.fractions}: one is given twice")
        if (rate := self.supervised_learning_rate) <= 0:
            raise IgclError(f"protocol linear: supervised_learning_rate is {rate}, not above 0")
        if any(contestant.method == SUPERVISED for contestant in contestants):
            wanted = len(self.fractions)
            if len(self.supervised_epochs) != wanted or min(self.supervised_epochs) < 1:
                epochs = self.supervised_epochs
                raise IgclError(f"protocol linear: supervised_epochs are {epochs}, not {wanted} numbers of at least 1")
        super().check(store, contestants)

    def why_not(self, contestant: Contestant) -> str:
        """Return "": probes ask any encoder, and supervised training is a baseline of theirs."""
        return ""

    def parts(self, contestant: Contestant) -> list[Part]:
        """Return a part for each fraction."""
        return [{"fraction": fraction} for fraction in self.fractions]

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options that one fraction depends on."""
        own = super().settings(contestant, part)
        if contestant.method != SUPERVISED:
            return own
        return own | {"epochs": self._epochs(part), "learning_rate": self.supervised_learning_rate}

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return the predictions at one fraction."""
        if contestant.method != SUPERVISED:
            return self._probed(LinearProbe, contestant, store, part)
        seeds = range(self.baseline_seeds if part["fraction"] < 1 else 1)
        frames = [self._supervised(contestant, store, part, seed) for seed in seeds]
        return pd.concat(frames, ignore_index=True)

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return what other probes do, and the labels that the first method saves."""
        records, text = super().report(measured, store)
        if len(self.fractions) < 2 or len(measured) < 2 or "test" not in self.splits:
            return records, text
        predictions = pd.concat(measured.values(), ignore_index=True)
        title = "labels saved: what the other method needs to do as well [95 % interval over patients]"
        fraction, asked = min(self.fractions), pairs(methods_of(measured))
        try:
            saved = [label_savings(predictions, *pair, fraction=fraction, resamples=self.resamples) for pair in asked]
        except IgclError as error:  # such as a test split in which every label has one class; the rest is still shown
            return records, f"{text}\n\n{title}\nnot computed: {error}"
        records += [savings_record(each, protocol=self.name, store=store.path.name) for each in saved]
        return records, "\n".join([f"{text}\n", title, *map(savings_line, saved)])

    def _supervised(self, contestant: Contestant, store: Store, part: Part, seed: int) -> pd.DataFrame:
        seed_everything(seed, verbose=False)
        epochs = self._epochs(part)
        validated = {"max_epochs": epochs, "check_val_every_n_epoch": max(1, epochs // VALIDATIONS)}
        with TemporaryDirectory() as folder:
            return self._fitted(
                FineTune(**contestant.encoder, optim=OptimOptions(self.supervised_learning_rate)),
                store,
                ModelCheckpoint(folder, monitor="val/auroc_mean", mode="max"),
                EarlyStopping("val/auroc_mean", mode="max", patience=5),
                trainer={"gradient_clip_val": 1.0, **validated},
                draw_seed=seed,
                **part,
            )

    def _epochs(self, part: Part) -> int:
        return self.supervised_epochs[self.fractions.index(part["fraction"])]


@dataclass(frozen=True)
class FewShot(ProbeProtocol):
    """Linear probes on a few positive rows of each label, in several draws.

    Args:
        shots: numbers of positive training rows of each label.
    """

    shots: list[int] = field(default_factory=lambda: [5, 10, 20])

    name: ClassVar[str] = "few_shot"
    statistics: ClassVar[tuple[str, ...]] = ("resamples", "shots")

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other probes do, and for shots that are wrong."""
        if not self.shots or min(self.shots) < 1 or len(set(self.shots)) < len(self.shots):
            raise IgclError(f"protocol few_shot: shots are {self.shots}, not different numbers of at least 1")
        super().check(store, contestants)
        labels = self.labels_of(store)
        positives = (store.targets("train", labels) == 1).sum(axis=0)
        if few := [label for label, number in zip(labels, positives, strict=True) if number < max(self.shots)]:
            told = f"fewer than {max(self.shots)} positive training rows, so all of them are drawn: {', '.join(few)}"
            write_message("warning", f"few_shot: {told}")

    def why_not(self, contestant: Contestant) -> str:
        """Return why training from scratch cannot be asked: it is no encoder to probe."""
        return "is trained from scratch" if contestant.method == SUPERVISED else ""

    def parts(self, contestant: Contestant) -> list[Part]:
        """Return a part for each number of shots."""
        return [{"shots": shots} for shots in self.shots]

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return the predictions of probes on one number of shots."""
        return self._probed(FewShotProbe, contestant, store, part)
