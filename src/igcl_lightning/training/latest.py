"""The checkpoint of the latest run: `--ckpt_path latest`, and `runs/NAME/latest` as a path."""

from __future__ import annotations

from pathlib import Path

from igcl_lightning.errors import IgclError

LATEST = "latest"


def find_latest(path: str, runs: Path, *, resume: bool) -> str:
    """Return the path of a checkpoint of the run that wrote one last, for a path ending in `latest`.

    Args:
        path: "latest", for a run in `runs`, or FOLDER/latest; any other path is returned as it is.
        runs: folder of the runs of a model.
        resume: whether the run is to go on, from `last.ckpt`; otherwise `best.ckpt` is preferred.

    Raises:
        IgclError: no run of the folder has a checkpoint.
    """
    named = Path(path)
    if named.name != LATEST or named.exists():
        return path
    folder = runs if path == LATEST else named.parent
    found = sorted(folder.glob("*/checkpoints/*.ckpt"), key=lambda each: each.stat().st_mtime_ns)
    if not found:
        raise IgclError(f"{path}: no run in {folder} has a checkpoint")
    preferred = found[-1].with_name("last.ckpt" if resume else "best.ckpt")
    return str(preferred if preferred.exists() else found[-1])
