"""Jobs of SLURM: one run folder for a job and all its restarts, and the checkpoint that a restart continues from."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from jsonargparse import Namespace
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from igcl_lightning.errors import write_message
from igcl_lightning.training.resume import in_sweep


def continue_job(options: Namespace, words: list[str], name: str) -> None:
    """Give a fit in a SLURM job a run folder of its own, and the newest checkpoint in it if the job was restarted.

    The folder is named after the job and the command, so that one job may run several commands. Trials of a W&B sweep,
    of which an agent runs many alike, are left alone, and so are options that are given.

    Args:
        options: options of fit, changed in place.
        words: the command line.
        name: name of the CSV logger's folder unless it has one.
    """
    if not SLURMEnvironment.detect() or in_sweep():
        return
    run = f"slurm_{SLURMEnvironment.job_id()}_{zlib.crc32(chr(0).join(words).encode()):08x}"
    logger = options.trainer.logger
    given = logger.init_args if isinstance(logger, Namespace) else Namespace()  # type: ignore[no-untyped-call]
    if isinstance(logger, Namespace) and given.get("version") is None and given.get("id") is None:
        given.version = run
    folder = Path(given.get("save_dir") or "runs", given.get("project") or given.get("name") or name, run)
    if options.trainer.default_root_dir is None:
        options.trainer.default_root_dir = str(folder)  # where Lightning saves a checkpoint before it requeues the job
    found = [*folder.glob("checkpoints/*.ckpt"), *folder.glob("hpc_ckpt_*.ckpt")]
    if found and not options.get("ckpt_path") and os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        options.ckpt_path = str(max(found, key=lambda path: path.stat().st_mtime))
        write_message("note", f"the job was restarted: continues from {options.ckpt_path}")
