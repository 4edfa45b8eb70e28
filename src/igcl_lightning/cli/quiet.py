"""Silences what the libraries say on every run and a newcomer can do nothing about: by message, and nothing else."""

from __future__ import annotations

import logging
import re
import warnings

NOTES = re.compile(r"(GPU|TPU) available: |💡 Tip: |Loading `train_dataloader` to estimate")
WARNINGS = (
    r".*does not have many workers which may be a bottleneck",
    r".*isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning uses it
    r"`torch\.jit\.script` is deprecated",  # imported libraries use it
    r"The dirpath has changed from",  # a test or a prediction has a run folder of its own
    r"Experiment logs directory .* exists and is not empty",  # `keep_metrics` has put the earlier file aside
)


def quieten() -> None:
    """Silence `NOTES` of Lightning's log and `WARNINGS`; call it before the heavy imports."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_worth_saying)
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def _is_worth_saying(record: logging.LogRecord) -> bool:
    return not NOTES.match(record.getMessage())
