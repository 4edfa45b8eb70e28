"""Linear and few-shot probes of image encoders, and supervised training from scratch on the same labelled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pandas as pd
from lightning.pytorch import seed_everything

from igcl_lightning.data.features import read_features
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError, write_message
from igcl_lightning.evaluation.floors import format_floors
from igcl_lightning.evaluation.label_savings import label_savings, savings_lines, savings_record
from igcl_lightning.evaluation.published import format_published
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.together import format_together, summarise_together
from igcl_lightning.modules.few_shot import FewShotProbe
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.nn.checks import check_at_least, check_positive
from igcl_lightning.protocols.contestants import FLOORS, RANDOM, SEEDS_APART, SUPERVISED, Contestant
from igcl_lightning.protocols.floors import write_floor
from igcl_lightning.protocols.head_fits import check_epochs, check_fractions, check_labelled, fit_head, train_images
from igcl_lightning.protocols.protocol import Part, ScoringProtocol, compared, methods_of

PATIENCE = 5
"""Validations in a row without a better one after which supervised training ends."""


@dataclass(frozen=True)
class ProbeProtocol(ScoringProtocol):
    """What linear and few-shot probes share.

    Args:
        draws: draws of labelled rows of each setting, the same for all encoders; one where all rows are used.
        baseline_seeds: encoders with random weights, each with one draw; runs of supervised training, too.
        skip_absent: whether labels that a store lacks are left out with a warning, instead of being an error.
        published: whose published numbers are shown below the results: a name in `evaluation/published.yaml`.
    """

    draws: int = 5
    baseline_seeds: int = 3
    skip_absent: bool = False
    published: str | None = None

    statistics: ClassVar[tuple[str, ...]] = ("skip_absent", "published")

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` for wrong options, a store without labels or splits to train on, or a missing encoder."""
        for name in ("draws", "baseline_seeds"):
            check_at_least(f"protocol {self.name}: {name}", getattr(self, name), 1)
        if self.published is not None and not format_published(self.published):
            raise IgclError(f"protocol {self.name}: published: {self.published!r} has no published numbers")
        self._tell_absent_labels(store)
        super().check(store, contestants)
        check_labelled(self, store)
        for contestant in contestants:
            if contestant.features is not None:
                for split in dict.fromkeys(["train", "valid", *self.splits]):
                    read_features(Path(contestant.features), store.column(split, "row"))
            elif not contestant.words and not contestant.baseline:
                LinearProbe(**contestant.encoder)  # fail now, not after an hour of training

    def labels_of(self, store: Store) -> list[str]:
        """Return the labels to evaluate in a store."""
        labels = super().labels_of(store)
        return [label for label in labels if label in store.labels] if self.skip_absent else labels

    def below(self) -> str:
        """Return the published numbers, if they are asked for."""
        return "" if self.published is None else format_published(self.published)

    def _tell_absent_labels(self, store: Store) -> None:
        absent = [label for label in super().labels_of(store) if label not in store.labels] if self.skip_absent else []
        if absent and not self.labels_of(store):
            has = ", ".join(store.labels) or "none"
            raise IgclError(f"{store.path}: has none of the labels of {self.name}, only {has}; choose with --labels")
        if absent:
            write_message("warning", f"{self.name}: left out, no label of {store.path}: {', '.join(absent)}")

    def _probed(self, probe: type[LinearProbe], contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        setting: dict[str, Any] = {"draws": 1 if part.get("fraction") == 1 else self.draws, "batch_size": 256, **part}
        if contestant.baseline == RANDOM:
            frames = [self._of_random(probe, contestant, store, setting, seed) for seed in range(self.baseline_seeds)]
            return pd.concat(frames, ignore_index=True)
        module = probe(**contestant.encoder, name=contestant.method)
        with TemporaryDirectory() as folder:
            features = contestant.features
            if contestant.method in FLOORS:
                splits = dict.fromkeys(["train", *self.scored_splits(store)])
                features = str(write_floor(contestant.method, store, [*splits], Path(folder)))
            frame = fit_head(self, module, store, features=features, **setting)
        return frame.assign(seed=frame["seed"] + contestant.run_seed())

    def _of_random(
        self, probe: type[LinearProbe], contestant: Contestant, store: Store, setting: Mapping[str, Any], seed: int
    ) -> pd.DataFrame:
        seed_everything(seed, verbose=False)
        module = probe(**contestant.encoder, name=contestant.method)
        return fit_head(self, module, store, **{**setting, "draws": 1, "draw_seed": seed})

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return what other protocols of scores do, and which floors the first method is not better than."""
        records, text = super().report(measured, store)
        floors = [method for method in methods_of(measured) if method in FLOORS]
        lines = [format_floors(records, floors, split) for split in self.splits]
        return records, "\n\n".join([text, *filter(None, lines)])


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
        *ProbeProtocol.statistics,
        "fractions",
        "supervised_epochs",
        "supervised_learning_rate",
    )

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other probes do, and for fractions that are wrong."""
        check_fractions(self.name, self.fractions)
        check_positive("protocol linear: supervised_learning_rate", self.supervised_learning_rate)
        if any(contestant.baseline == SUPERVISED for contestant in contestants):
            check_epochs(self.name, "supervised_epochs", self.supervised_epochs, self.fractions)
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
        if contestant.baseline != SUPERVISED:
            return own
        return own | {"epochs": self._epochs(part), "learning_rate": self.supervised_learning_rate}

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return the predictions at one fraction."""
        if contestant.baseline != SUPERVISED:
            return self._probed(LinearProbe, contestant, store, part)
        seeds = range(self.baseline_seeds if part["fraction"] < 1 else 1)
        frames = [self._supervised(contestant, store, part, seed) for seed in seeds]
        return pd.concat(frames, ignore_index=True)

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return what other probes do, and the labels that the first method saves where it is compared with others."""
        records, text = super().report(measured, store)
        if len(self.fractions) < 2 or len(measured) < 2 or "test" not in self.splits:
            return records, text
        title = "labels saved: what the other method needs to do as well [95 % interval over patients]"
        try:
            saved = self._saved(measured, store)
        except IgclError as error:  # such as a test split in which every label has one class; the rest is still shown
            return records, f"{text}\n\n{title}\nnot computed: {error}"
        if not saved:
            return records, text
        return [*records, *saved], "\n".join([f"{text}\n", title, *savings_lines([*records, *saved])])

    def _saved(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> list[Record]:
        """Return the labels that the first method saves: all its pretrainings together, then each of several."""
        method = methods_of(measured)[0]
        others = [other for own, other in compared(measured) if own == method]
        own = {each.run_seed(): frame for each, frame in measured.items() if each.method == method}
        parts: dict[int | None, list[pd.DataFrame]] = {None: [*own.values()]}
        if len(own) > 1:
            parts |= {seed: [frame] for seed, frame in own.items()}
        fraction, records = min(self.fractions), []
        for other in others:
            theirs = [frame for each, frame in measured.items() if each.method == other]
            for seed, frames in parts.items():
                predictions = pd.concat([*frames, *theirs], ignore_index=True)
                found = label_savings(predictions, method, other, fraction=fraction)
                records.append(savings_record(found, protocol=self.name, store=store.path.name, seed=seed))
        return records

    def _supervised(self, contestant: Contestant, store: Store, part: Part, seed: int) -> pd.DataFrame:
        return train_images(
            self,
            store,
            {**contestant.encoder, "name": contestant.method},
            seed=seed,
            fraction=part["fraction"],
            epochs=self._epochs(part),
            learning_rate=self.supervised_learning_rate,
            patience=PATIENCE,
        )

    def _epochs(self, part: Part) -> int:
        return self.supervised_epochs[self.fractions.index(part["fraction"])]


@dataclass(frozen=True)
class FewShot(ProbeProtocol):
    """Linear probes on a few positive rows of each label, in several draws.

    Args:
        shots: numbers of positive training rows of each label.
        together: whether the draws of each encoder are also judged together: pooled in one curve, and as an ensemble.
            Encoders with random weights have one draw each, and are left out.
    """

    shots: list[int] = field(default_factory=lambda: [5, 10, 20])
    together: bool = False

    name: ClassVar[str] = "few_shot"
    statistics: ClassVar[tuple[str, ...]] = (*ProbeProtocol.statistics, "shots", "together")

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
        return "is trained from scratch" if contestant.baseline == SUPERVISED else ""

    def parts(self, contestant: Contestant) -> list[Part]:
        """Return a part for each number of shots."""
        return [{"shots": shots} for shots in self.shots]

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return the predictions of probes on one number of shots."""
        return self._probed(FewShotProbe, contestant, store, part)

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return what other probes do, and what the draws of each encoder reach together."""
        records, text = super().report(measured, store)
        drawn = {each: frame for each, frame in measured.items() if each.baseline != RANDOM}
        if not self.together or not drawn:
            return records, text
        predictions = pd.concat(drawn.values(), ignore_index=True)
        predictions = predictions[predictions["split"].isin(self.splits)]
        about: dict[str, Any] = {"versus": compared(drawn), "protocol": self.name, "store": store.path.name}
        records = [*records, *summarise_together(predictions, apart=SEEDS_APART, **about)]
        return records, "\n\n".join([text, *(format_together(records, split) for split in self.splits)])
