"""Files of a segmentation: how masks overlap, results, and the masks themselves."""

from __future__ import annotations

import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch import Trainer

from igcl_lightning.atomic import replacing
from igcl_lightning.callbacks.outputs import (
    GatheringCallback,
    from_all_processes,
    id_columns,
    write_and_log_results,
)
from igcl_lightning.data.images import encode_grey
from igcl_lightning.data.interfaces import RowLookup, row_lookup
from igcl_lightning.evaluation.segmentation import PIXELS, format_masks, summarise_segmentation
from igcl_lightning.modules.segmentation import Overlaps, Segmentation, Segmented
from igcl_lightning.run_folder import run_folder


class KeepOverlaps(GatheringCallback):
    """After `test` or `predict`, keep the overlaps of known masks in `frame`, on the first process."""

    output_type = Overlaps

    def __init__(self) -> None:
        super().__init__()
        self.frame = pd.DataFrame()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the overlaps of a batch, and not its masks."""
        kept = outputs.overlaps if isinstance(outputs, Segmented) else outputs
        super().on_test_batch_end(trainer, pl_module, kept, batch, batch_idx, dataloader_idx)

    on_predict_batch_end = on_test_batch_end

    def write(self, outputs: Overlaps, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Keep the overlaps."""
        self.frame = overlap_table(outputs, pl_module, trainer)


class WriteSegmentation(KeepOverlaps):
    """After `test`, write `segmentation.parquet` and `results.json`; print its table. After `predict`, write the masks.

    `segmentation.parquet` has a line for each row and known mask, with the pixels in both, in the prediction, and in
    the mask. `masks.parquet` has the predicted masks as 1-bit PNG of the stored size, columns row, study, patient,
    split, label and png.
    """

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Drop earlier masks."""
        self._masks: dict[int, list[bytes]] = {}

    on_predict_start = on_test_start

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the masks of a batch."""
        super().on_predict_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        if isinstance(outputs, Segmented):
            for row, masks in zip(outputs.overlaps.row.tolist(), outputs.mask.cpu().numpy(), strict=True):
                self._masks[row] = [encode_grey(mask, lossless=True) for mask in masks]

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the masks of all processes."""
        super().on_predict_end(trainer, pl_module)
        folder = run_folder(trainer)  # a collective call, as is the next
        parts = from_all_processes(list(self._masks.items()))
        # Samplers distribute rows to the processes in turn, and repeat the last.
        masks = dict(each for turn in zip_longest(*parts) for each in turn if each is not None)
        if trainer.is_global_zero and masks:
            write_masks(masks, folder, pl_module, row_lookup(trainer, type(self).__name__))

    def write(self, outputs: Overlaps, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the overlaps and the results of a test."""
        if job != "test":
            return
        super().write(outputs, folder, trainer, pl_module, job)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "segmentation.parquet") as temporary:
            self.frame.to_parquet(temporary)
        records = summarise_segmentation(self.frame, protocol="segmentation", store=pl_module.data.store_path)
        write_and_log_results(records, folder, trainer)
        sys.stdout.write(f"\n{pl_module.method_name}: {format_masks(records)}\n\n")


def overlap_table(outputs: Overlaps, module: Segmentation, trainer: Trainer) -> pd.DataFrame:
    """Return a line per row and known mask: method, fraction, seed, ids, label, and the pixels (`PIXELS`)."""
    ids = id_columns(outputs.row, row_lookup(trainer, "KeepOverlaps"))
    origin = module.origin or {}
    run = {"method": module.method_name, "fraction": origin.get("fraction"), "seed": origin.get("draw_seed", 0)}
    frames = []
    for number, name in enumerate(module.mask_names or []):
        known = outputs.known[:, number].numpy()
        pixels = pd.DataFrame(outputs.pixels[:, number].numpy()[known], columns=PIXELS)
        frames.append(pd.concat([ids[known].reset_index(drop=True).assign(**run, label=name), pixels], axis=1))
    return pd.concat(frames, ignore_index=True)


def write_masks(masks: dict[int, list[bytes]], folder: Path, module: Segmentation, data: RowLookup) -> None:
    """Write `masks.parquet` into a folder: the masks of hashed row ids, in the order of the module's names."""
    names = module.mask_names or []
    lines = [
        (*data.row_ids(row), data.row_split(row), name, png)
        for row, files in masks.items()
        for name, png in zip(names, files, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "masks.parquet") as temporary:
        pd.DataFrame(lines, columns=["row", "study", "patient", "split", "label", "png"]).to_parquet(temporary)
