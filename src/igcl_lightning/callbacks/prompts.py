"""How zero-shot classification depends on its prompts: a file of all prompts, and a table by label."""

from __future__ import annotations

import math
import sys
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, Trainer

from igcl_lightning.atomic import replacing
from igcl_lightning.evaluation.tables import aligned
from igcl_lightning.modules.zero_shot import ZeroShot
from igcl_lightning.run_folder import run_folder


class WritePrompts(Callback):
    """After `test` of `ZeroShot`, write `prompts.csv` into the run folder, one line each, and print `robustness`."""

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the file and print the table, on the first process."""
        folder = run_folder(trainer)
        if not isinstance(pl_module, ZeroShot) or not trainer.is_global_zero:
            return
        table = pl_module.prompt_table()
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "prompts.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
        rows = [["label", "prompts", "AUROC of one: mean", "sd", "lowest", "highest", "agreement"]]
        for label, line in robustness(table).iterrows():
            numbers = ("" if math.isnan(value) else f"{value:.3f}" for value in line.iloc[1:])
            rows.append([str(label), f"{line['prompts']:.0f}", *numbers])
        sys.stdout.write(f"each prompt alone, test rows (agreement: rank correlation of rows)\n\n{aligned(rows)}\n\n")


def robustness(prompts: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Return by label how results depend on the wording.

    Args:
        prompts: `ZeroShot.prompt_table`.
        split: split of the rows.

    Returns:
        `prompts`, their number; `mean`, `sd`, `lowest` and `highest` AUROC of a single one; and `agreement`, the rank
        correlation of the rows' scores by two prompts, on average. Labels are in the order of the prompts.
    """
    each = prompts.groupby("label", sort=False)
    value = each[f"{split}_auroc"]
    columns = {"prompts": each.size(), "mean": value.mean(), "sd": value.std(ddof=0), "lowest": value.min()}
    return pd.DataFrame(columns | {"highest": value.max(), "agreement": each[f"{split}_agreement"].mean()})
