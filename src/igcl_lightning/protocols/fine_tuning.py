"""Fine-tuning of image encoders at labelled shares of the training rows, and training from scratch at the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import pandas as pd

from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.results import Record
from igcl_lightning.modules.fine_tune import FineTune
from igcl_lightning.nn.checks import check_at_least, check_positive
from igcl_lightning.nn.tuning import FULL, LoraOptions
from igcl_lightning.protocols.contestants import RANDOM, SUPERVISED, Contestant
from igcl_lightning.protocols.head_fits import check_epochs, check_fractions, check_labelled, train_images
from igcl_lightning.protocols.protocol import Part, Protocol, score_report


@dataclass(frozen=True)
class FineTuning(Protocol):
    """Fine-tuning at labelled shares of the training rows, in several draws.

    Training ends when the validation AUROC stops rising, and the best epoch is scored. A draw has its own rows, head
    and order of rows; where all rows are used, draws differ in the latter two. Encoders with random weights are trained
    whole, from scratch.

    Args:
        fractions: labelled shares of the training rows.
        draws: draws of each share, the same rows for all encoders.
        tune: weights of a pretrained encoder that are trained: "full", "last_block" or "lora".
        lora: adapters, for "lora".
        epochs: most epochs at each fraction.
        learning_rate: peak learning rate.
        patience: validations in a row without a better one after which training ends; there are about 20.
    """

    fractions: list[float] = field(default_factory=lambda: [0.01, 0.1, 1.0])
    draws: int = 3
    tune: str = FULL
    lora: LoraOptions = LoraOptions()
    epochs: list[int] = field(default_factory=lambda: [100, 40, 20])
    learning_rate: float = 3e-4
    patience: int = 5

    name: ClassVar[str] = "fine_tune"
    statistics: ClassVar[tuple[str, ...]] = ("resamples", "fractions", "draws", "epochs", "tune", "lora")

    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it can."""
        if contestant.features is not None:
            return "is a file of features, without an encoder to train"
        return f"is what {RANDOM} is here, trained from scratch" if contestant.method == SUPERVISED else ""

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` for wrong options, a store to train on that lacks something, or an unfit encoder."""
        check_fractions(self.name, self.fractions)
        check_epochs(self.name, "epochs", self.epochs, self.fractions)
        check_positive("protocol fine_tune: learning_rate", self.learning_rate)
        check_at_least("protocol fine_tune: draws", self.draws, 1)
        check_at_least("protocol fine_tune: patience", self.patience, 1)
        super().check(store, contestants)
        check_labelled(self, store)
        for contestant in contestants:  # fail now, not after an hour of training
            encoder = contestant.encoder or {"image": dict(contestant.architecture)}
            FineTune(**encoder, **self._tuned(contestant))

    def parts(self, contestant: Contestant) -> list[Part]:
        """Return a part for each draw of each fraction."""
        return [{"fraction": fraction, "draw": draw} for fraction in self.fractions for draw in range(self.draws)]

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options that one draw depends on."""
        return super().settings(contestant, part) | {"epochs": self._epochs(part)} | self._tuned(contestant)

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return the predictions of one draw."""
        draw = int(part["draw"])
        frame = train_images(
            self,
            store,
            {**contestant.encoder, **self._tuned(contestant), "name": contestant.method},
            seed=draw,
            fraction=part["fraction"],
            epochs=self._epochs(part),
            learning_rate=self.learning_rate,
            patience=self.patience,
        )
        return frame.assign(seed=contestant.run_seed(draw))

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return AUROCs, and accuracy and F1 of a set of classes (see `score_report`)."""
        return score_report(self, measured, store)

    def _tuned(self, contestant: Contestant) -> dict[str, Any]:
        """Return the arguments of `FineTune` that say what is trained; it takes a group as a mapping, too."""
        return {"tune": FULL} if contestant.method == RANDOM else {"tune": self.tune, "lora": asdict(self)["lora"]}

    def _epochs(self, part: Part) -> int:
        return self.epochs[self.fractions.index(part["fraction"])]
