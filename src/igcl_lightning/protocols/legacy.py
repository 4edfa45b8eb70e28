"""The evaluation of the paper of IGCL as its authors' code does it, beside ours on the same frozen features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pandas as pd
from lightning.pytorch import seed_everything

from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.legacy import HEADS, LEGACY, format_legacy, legacy_records
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.tables import aligned
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.softmax_probe import SoftmaxOptions, SoftmaxProbe
from igcl_lightning.nn.checks import check_at_least, check_positive
from igcl_lightning.protocols.contestants import FLOORS, RANDOM, SUPERVISED, Contestant
from igcl_lightning.protocols.head_fits import check_epochs, check_fractions, fit_head
from igcl_lightning.protocols.linear import ProbeProtocol
from igcl_lightning.protocols.protocol import NOT_EVALUATED, Part

SUBSET_SEED = 42
"""Seed of the one subset of rows that all runs are trained on."""

HOW = (
    ("", "published", "ours"),
    ("head", "one softmax over all labels, so that they compete", "a logistic regression for each label"),
    ("training", "Adam, the best epoch on validation rows", "to the optimum, the best penalty on validation rows"),
    ("features", "as they are", "standardised"),
    ("unknown labels", "absent in training", "left out"),
    ("rows of the runs", "the same", "drawn anew for each"),
    ("AUROC", "one curve of the scores of all runs", "mean of the runs' AUROCs"),
    ("interval", "every score of every run as of a new patient", "over patients, each with all its rows and runs"),
    ("threshold of MCC", "from the labels of the test rows", "from validation rows, for each run"),
)
"""How the published way differs from ours, as rows of a table."""


@dataclass(frozen=True)
class Legacy(ProbeProtocol):
    """The published way of probing and of computing statistics beside ours, each with each.

    The runs of a share differ in initial weights and order of the rows only. "No Finding" is trained as a label where a
    store has it, and not evaluated. Further options are those of `ProbeProtocol`.

    Args:
        fractions: labelled shares of the training rows.
        draws: runs of each share; for encoders with random weights `baseline_seeds`, each of another encoder.
        epochs: epochs at each fraction.
        learning_rate, eps: learning rate and epsilon of Adam.
        batch_size: rows in a step.
        resamples: resamples of the scores, for the intervals of the published way.
        published: as of other probes.
    """

    fractions: list[float] = field(default_factory=lambda: [0.01])
    draws: int = 10
    epochs: list[int] = field(default_factory=lambda: [100])
    learning_rate: float = 5e-4
    eps: float = 1e-8
    batch_size: int = 32
    resamples: int = 1000
    published: str | None = LEGACY

    name: ClassVar[str] = LEGACY
    statistics: ClassVar[tuple[str, ...]] = (*ProbeProtocol.statistics, "fractions", "epochs", "resamples")

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other probes do, and for options that are wrong."""
        check_fractions(self.name, self.fractions)
        check_epochs(self.name, "epochs", self.epochs, self.fractions)
        for name in ("batch_size", "resamples"):
            check_at_least(f"protocol {self.name}: {name}", getattr(self, name), 1)
        for name in ("learning_rate", "eps"):
            check_positive(f"protocol {self.name}: {name}", getattr(self, name))
        super().check(store, contestants)

    def why_not(self, contestant: Contestant) -> str:
        """Return why training from scratch and what is known without a model cannot be asked: they are no encoders."""
        if contestant.method in FLOORS:
            return contestant.no_encoder
        return "is trained from scratch" if contestant.baseline == SUPERVISED else ""

    def parts(self, contestant: Contestant) -> list[Part]:
        """Return a part for each fraction."""
        return [{"fraction": fraction} for fraction in self.fractions]

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options that one fraction depends on."""
        return super().settings(contestant, part) | {"epochs": self._epochs(part)}

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return the scores of both heads on the splits and on the validation rows.

        The column `head` names the head, one of `HEADS`, and `logit` holds the scores: this is no table of predictions.
        """
        with_no_finding = replace(self, labels=self._trained_labels(store))
        frames = {
            "logistic": self._probed(LinearProbe, contestant, store, part),
            "softmax": pd.concat(with_no_finding._softmax_runs(contestant, store, part), ignore_index=True),
        }
        both = pd.concat([frame.assign(head=head) for head, frame in frames.items()], ignore_index=True)
        both = both[both["label"].isin(self.labels_of(store))]
        return both.rename(columns={"score": "logit"})

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return AUROC and MCC of both heads by both kinds of statistics, and how they differ."""
        scores = pd.concat(measured.values(), ignore_index=True).rename(columns={"logit": "score"})
        records = []
        for head in HEADS:
            of_head = scores[scores["head"] == head].drop(columns="head").reset_index(drop=True)
            about: dict[str, Any] = {"resamples": self.resamples, "store": store.path.name}
            records += legacy_records(of_head, head, self.splits, **about)
        how = f"the published way beside ours, on the same frozen features\n\n{aligned(HOW)}"
        tables = [format_legacy(records, split) for split in self.splits]
        return records, "\n\n".join([how, *tables])

    def _softmax_runs(self, contestant: Contestant, store: Store, part: Part) -> Iterator[pd.DataFrame]:
        """Yield the predictions of all runs of an encoder; of encoders with random weights, of one run each."""
        runs, encoders = (1, self.baseline_seeds) if contestant.baseline == RANDOM else (self.draws, 1)
        for seed in range(encoders):
            seed_everything(seed, verbose=False)
            options = SoftmaxOptions(self.learning_rate, self.eps, self._epochs(part), self.batch_size, runs, seed)
            probe = SoftmaxProbe(**contestant.encoder, name=contestant.method, training=options)
            setting: dict[str, Any] = {"draw_seed": SUBSET_SEED, "batch_size": 256, **part}
            frame = fit_head(self, probe, store, features=contestant.features, **setting)
            yield frame.assign(seed=frame["seed"] - SUBSET_SEED + contestant.run_seed(seed))

    def _trained_labels(self, store: Store) -> list[str]:
        labels = self.labels_of(store)
        return [*labels, *({NOT_EVALUATED} & set(store.labels) - set(labels))]

    def _epochs(self, part: Part) -> int:
        return self.epochs[self.fractions.index(part["fraction"])]
