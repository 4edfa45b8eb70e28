"""Zero-shot classification by prompts as a protocol; `modules.zero_shot` scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from igcl_lightning.callbacks.outputs import KeepPredictions
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.data.words import training_words
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.prompts import Prompt, make_prompts, read_prompts
from igcl_lightning.modules.zero_shot import ZeroShot, lines_of, refuse_unknown_words
from igcl_lightning.nn.checks import check_at_least
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.hard_negatives import quiet_trainer
from igcl_lightning.protocols.protocol import Part, ScoringProtocol, check_score


@dataclass(frozen=True)
class ZeroShotProtocol(ScoringProtocol):
    """Labels scored by prompts, without any labelled row; inverted prompts are named on the validation rows.

    Args:
        prompts: file of prompts (default: those of the package).
        statements: statements of a label in a prompt (default: that of `ZeroShot`).
        score: "global", "local" or "both" (default: the score of each model's retrieval).
    """

    prompts: str | None = None
    statements: int | None = None
    score: str | None = None

    name: ClassVar[str] = "zero_shot"

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other protocols do, for a label without prompts, and for prompts of unknown words."""
        super().check(store, contestants)
        check_score(self.name, self.score, contestants)
        if not self.labels_of(store):
            raise IgclError(f"{store.path}: has no labels for the protocol zero_shot")
        if self.statements is not None:
            check_at_least("protocol zero_shot: statements", self.statements, 1)
        for contestant in contestants:
            if contestant.checkpoint is not None:
                self.module(contestant, store).refuse_unknown_words()
            else:
                refuse_unknown_words(self._prompts(store), set(training_words(store, contestant.side).split()))

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options and the prompts themselves: a file may change under its name."""
        lines = read_prompts(Path(self.prompts) if self.prompts else None)
        return super().settings(contestant, part) | {"prompts": [list(line) for line in lines]}

    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it reads reports."""
        return "" if contestant.side else "reads no reports, so no prompts"

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return the scores of all labels; warns of prompts that are inverted on the validation rows."""
        module, kept = self.module(contestant, store), KeepPredictions()
        trainer = quiet_trainer(kept)
        splits, labels = self.scored_splits(store), self.labels_of(store)
        data = LabeledDataModule(str(store.path), labels=labels, batch_size=256, predict_splits=splits)
        if "valid" in store.splits:
            trainer.validate(module, data, verbose=False)
        trainer.predict(module, data, return_predictions=False)
        return kept.frame.assign(seed=contestant.run_seed())

    def module(self, contestant: Contestant, store: Store) -> ZeroShot:
        """Return the classifier of a contestant with a checkpoint."""
        return ZeroShot(
            contestant.checkpoint,
            prompts=self.prompts,
            statements=self.statements,
            score=self.score,
            name=contestant.method,
            label_names=self.labels_of(store),
        )

    def _prompts(self, store: Store) -> list[Prompt]:
        lines = read_prompts(Path(self.prompts) if self.prompts else None)
        return make_prompts(lines_of(self.labels_of(store), lines))
