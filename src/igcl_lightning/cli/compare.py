"""The command `igcl compare`: `igcl evaluate` with a table of its own."""

from __future__ import annotations

import argparse

from igcl_lightning.cli import evaluate

HELP = "compare methods and encoders at the same budget, in one table"
EXAMPLE = "igcl compare --store stores/mine --checkpoint runs/igcl/version_0/checkpoints/best.ckpt"

run = evaluate.run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    evaluate.add_evaluation_options(parser, "runs/compare", "evaluation/compare.yaml")
