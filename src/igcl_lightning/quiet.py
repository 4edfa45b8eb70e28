"""What is written beside results: progress bars, and which messages of libraries are left out."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from igcl_lightning.closing import is_quiet
from igcl_lightning.errors import write_message

if TYPE_CHECKING:
    from tqdm import tqdm

PACKAGE = Path(__file__).parent
LINE_EVERY = 30.0
"""Seconds between lines where output is redirected and a bar cannot move."""

LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.fabric.utilities.distributed",
)
NOTES = re.compile(
    r"(\[rank: \d+\] )?("
    r"(GPU|TPU) available: |💡 Tip: |Loading `train_dataloader` to estimate|Seed set to |"
    r"Restor(ing|ed all) states from|`Trainer.fit` stopped: `max_(epochs|steps)=|Loaded model weights from|"
    r"\s*Detected KeyboardInterrupt, attempting|Running in `fast_dev_run` mode|"
    r"`Trainer\(limit_\w+_batches=1\.0\)` was configured so 100% of the batches|"
    r"Initializing distributed|-{100}|distributed_backend=|All distributed processes registered)"
)
WARNINGS = (
    r".*does not have many workers which may be a bottleneck",
    r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen encoders
    r"The number of training batches \(\d+\) is smaller than the logging interval",  # Lightning logs each epoch's end
    r".*isinstance\(treespec, LeafSpec\)` is deprecated",  # called by Lightning
    r"`torch\.jit\.script` is deprecated",  # called by imported libraries
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",  # EMA needs no callback
    r"The dirpath has changed from",  # a test or a prediction has a run folder of its own
    r"Experiment logs directory .* exists and is not empty",  # `keep_metrics` has renamed the earlier file
    r"Checkpoint directory .* exists and is not empty",  # of a resumed run; `LastCheckpoint` renames another run's file
)


def quieten(is_program: bool = False) -> None:
    """Silence `NOTES` of Lightning's log and `WARNINGS`; call it before the heavy imports.

    The program itself, not a test or a notebook, shows its own warnings as lines.
    """
    if is_program:
        own_warnings_as_lines()
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_news)
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def own_warnings_as_lines() -> None:
    """Show warnings of this package as the program's other messages, without a path; those of others as before."""
    shown_before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, *place: Any, **options: Any) -> None:
        if PACKAGE in Path(filename).parents:
            write_message("warning", str(message))
        else:
            shown_before(message, category, filename, *place, **options)

    warnings.showwarning = show


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's messages at the start of each run."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("lightning.pytorch", "lightning.fabric"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def progress_bar(*args: Any, **options: Any) -> tqdm[Any]:
    """Return a tqdm bar: none with --quiet, and for redirected output a line every 30 seconds, not ten per second."""
    from tqdm import tqdm

    redirected = {} if sys.stderr.isatty() else {"mininterval": LINE_EVERY, "delay": LINE_EVERY}
    return tqdm(*args, **{"dynamic_ncols": True, "disable": is_quiet(), **redirected, **options})


def _is_news(record: logging.LogRecord) -> bool:
    return not NOTES.match(record.getMessage())
