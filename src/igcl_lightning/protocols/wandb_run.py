"""An evaluation as a run of Weights & Biases: the main table, the figures and the page that stand in its folder."""

from __future__ import annotations

import json
from pathlib import Path

from igcl_lightning.errors import IgclError, UsageError, message_of
from igcl_lightning.evaluation.overview import overview_rows, shown_split
from igcl_lightning.protocols.contestants import PAGE, PLOTS
from igcl_lightning.training.wandb_trial import has_login, is_offline

JOB = "evaluation"


def check_account() -> None:
    """Raise `UsageError` where runs leave this machine and nobody is logged in: before hours of measuring."""
    if not is_offline() and not has_login():
        raise UsageError("--wandb needs an account: run `wandb login`, or set WANDB_MODE=offline")


def log_evaluation(project: str, out: Path) -> None:
    """Log what is in the folder of an evaluation to a new run of a project, whose files are in OUT/wandb.

    The page goes as it is, with the images that it has.

    Raises:
        IgclError: W&B did not take it; the results stay where they are.
    """
    import wandb

    records = json.loads((out / "results.json").read_text(encoding="utf-8"))
    if not records:
        return
    split = shown_split(records)
    titles, *rows = overview_rows(records, split)
    try:
        run = wandb.init(project=project, job_type=JOB, name=out.resolve().name, dir=str(out))
        run.log({"results": wandb.Table(columns=titles, data=rows)})
        run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in sorted((out / PLOTS).glob("*.png"))})
        run.log({"report": wandb.Html((out / PAGE).read_text(encoding="utf-8"), inject=False)})
        run.save(str(out / "results.json"), base_path=str(out), policy="now")
        run.finish()
    except Exception as error:
        if not type(error).__module__.startswith("wandb."):
            raise
        raise IgclError(f"{out} has all results, but W&B did not take them: {message_of(error)}") from error
