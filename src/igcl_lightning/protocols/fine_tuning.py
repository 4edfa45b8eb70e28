"""Fine-tuning of image encoders at labelled shares of the training rows, and training from scratch at the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pandas as pd

from igcl_lightning.data.store import Store
from igcl_lightning.modules.fine_tune import FineTune
from igcl_lightning.nn.tuning import FULL, LoraOptions
from igcl_lightning.protocols.contestants import FINE_TUNED, RANDOM, SUPERVISED, Contestant
from igcl_lightning.protocols.head_fits import DrawnTraining, check_labelled, encoder_of, train_images
from igcl_lightning.protocols.protocol import Part, ScoringProtocol


@dataclass(frozen=True)
class FineTuning(ScoringProtocol, DrawnTraining):
    """Fine-tuning at labelled shares of the training rows, in several draws.

    Training ends when the validation AUROC stops rising, and the best epoch is scored. Encoders with random weights are
    trained whole, from scratch. Further options are those of `DrawnTraining`.

    Args:
        tune: weights of a pretrained encoder that are trained: "full", "last_block" or "lora".
        lora: adapters, for "lora".
    """

    tune: str = FULL
    lora: LoraOptions = LoraOptions()
    learning_rate: float = 3e-4

    name: ClassVar[str] = "fine_tune"
    scores: ClassVar[str] = FINE_TUNED
    statistics: ClassVar[tuple[str, ...]] = (*DrawnTraining.statistics, "tune", "lora")

    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it can."""
        if contestant.no_encoder:
            return f"{contestant.no_encoder}, without an encoder to train"
        return f"is what {RANDOM} is here, trained from scratch" if contestant.baseline == SUPERVISED else ""

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` for wrong options, a store to train on that lacks something, or an unfit encoder."""
        super().check(store, contestants)
        check_labelled(self, store)
        for contestant in contestants:  # fail now, not after an hour of training
            FineTune(**encoder_of(contestant), **self._tuned(contestant))

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options that one draw depends on."""
        return super().settings(contestant, part) | self._tuned(contestant)

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return the predictions of one draw."""
        draw = int(part["draw"])
        frame = train_images(
            self,
            store,
            {**contestant.encoder, **self._tuned(contestant), "name": contestant.method},
            seed=draw,
            fraction=part["fraction"],
            epochs=self.epochs_of(part),
            learning_rate=self.learning_rate,
            patience=self.patience,
        )
        return frame.assign(seed=contestant.run_seed(draw))

    def _tuned(self, contestant: Contestant) -> dict[str, Any]:
        """Return the arguments of `FineTune` that say what is trained; it takes a group as a mapping, too."""
        return {"tune": FULL} if contestant.baseline == RANDOM else {"tune": self.tune, "lora": asdict(self)["lora"]}
