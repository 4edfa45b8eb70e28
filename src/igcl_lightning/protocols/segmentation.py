"""Segmentation at shares of the training masks, on frozen image encoders or with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import pandas as pd
from lightning.pytorch import seed_everything

from igcl_lightning.callbacks.segmentation import KeepOverlaps
from igcl_lightning.data.masks import check_masks, mask_targets
from igcl_lightning.data.modules import SegmentationDataModule
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.means import format_means
from igcl_lightning.evaluation.results import Record
from igcl_lightning.evaluation.segmentation import TITLES, summarise_segmentation
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.modules.segmentation import METRICS, Segmentation
from igcl_lightning.nn.checks import check_at_least, check_choice
from igcl_lightning.nn.segmentation import DecoderOptions
from igcl_lightning.protocols.contestants import SUPERVISED, Contestant
from igcl_lightning.protocols.head_fits import DrawnTraining, encoder_of, fit_best
from igcl_lightning.protocols.protocol import Part, compared

SHOWN = ("dice", "dice_positives")


@dataclass(frozen=True)
class SegmentationProtocol(DrawnTraining):
    """Masks at shares of the training rows that have some, in several draws; `labels` are names of masks.

    Training ends when the mean of `monitor` over validation rows stops rising, and the best epoch is scored. Further
    options are those of `DrawnTraining`.

    Args:
        frozen: whether encoders keep their weights.
        decoder: the decoder.
        loss: "bce_dice" or "focal_dice".
        batch_size: images in a step.
        monitor: "dice", "iou", or "dice_positives", the Dice of images that have the mask: rare masks that are never
            predicted have a high Dice over all images.
    """

    frozen: bool = True
    decoder: DecoderOptions = DecoderOptions()
    loss: str = "bce_dice"
    epochs: list[int] = field(default_factory=lambda: [100, 50, 20])
    batch_size: int = 16
    monitor: str = METRICS[0]

    name: ClassVar[str] = "segmentation"

    def labels_of(self, store: Store) -> list[str]:
        """Return the names of the masks; `IgclError` if the store has none, or lacks one."""
        return check_masks(store, self.labels)

    def refuse_unknown_labels(self, store: Store) -> None:
        """Raise `IgclError` for a mask that the store lacks."""
        self.labels_of(store)

    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it can."""
        if contestant.no_encoder:
            return f"{contestant.no_encoder}, without an encoder"
        return "is training on labels" if contestant.baseline == SUPERVISED else ""

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` for wrong options, a store without splits or masks, or an encoder without a feature map."""
        check_choice("protocol segmentation: monitor", self.monitor, METRICS)
        check_at_least("protocol segmentation: batch_size", self.batch_size, 1)
        super().check(store, contestants)
        for split in dict.fromkeys(["train", "valid", *self.splits]):
            if split not in store.splits:
                raise IgclError(f"{store.path}: has no split {split!r} for the protocol segmentation")
            target = mask_targets(store, split, self.labels_of(store))
            if not (target >= 0).any():
                raise IgclError(f"{store.path}: no row of {split} has a known mask for the protocol segmentation")
            if split == "valid" and self.monitor == METRICS[-1] and not (target == 1).any():
                raise IgclError(f"{store.path}: no row of valid has a mask to choose the epoch by {self.monitor}")
        for contestant in contestants:  # fail now, not after an hour of training
            self._module(encoder_of(contestant))

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return a line for each row and known mask of one draw (see `summarise_segmentation`)."""
        draw = int(part["draw"])
        seed_everything(draw, verbose=False)
        kept = KeepOverlaps()
        data = SegmentationDataModule(
            str(store.path),
            masks=self.labels_of(store),
            fraction=part["fraction"],
            draw_seed=draw,
            batch_size=self.batch_size,
            predict_splits=[*self.splits],
        )
        module = self._module({**contestant.encoder, "name": contestant.method})
        fit_best(module, data, kept, monitor=f"val/{self.monitor}", epochs=self.epochs_of(part), patience=self.patience)
        return kept.frame.assign(seed=contestant.run_seed(draw))

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return Dice and IoU of all images and of those with the mask, and tables of the means over masks."""
        overlaps = pd.concat(measured.values(), ignore_index=True)
        about: dict[str, Any] = {"protocol": self.name, "store": store.path.name}
        records = summarise_segmentation(overlaps, versus=compared(measured), **about)
        shown = {name: TITLES[name] for name in SHOWN}
        return records, "\n\n".join(format_means(records, split, shown) for split in self.splits)

    def _module(self, encoder: Mapping[str, Any]) -> Segmentation:
        options: dict[str, Any] = {"frozen": self.frozen, "decoder": asdict(self)["decoder"], "loss": self.loss}
        return Segmentation(**encoder, **options, optim=OptimOptions(self.learning_rate))
