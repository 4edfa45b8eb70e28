"""The command `igcl demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from igcl_lightning.cli.parser import add_seed

HELP = "pretrain, probe and compare on synthetic radiographs, in minutes"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    folder = Path("runs/demo")
    parser.add_argument("--out", type=Path, default=folder, metavar="DIR", help="folder to write (default: runs/demo)")
    parser.add_argument("--fast", action="store_true", help="smaller and faster: shows the steps, not the numbers")
    add_seed(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from igcl_lightning.protocols.compare import run_demo

    run_demo(options.out, fast=options.fast, seed=options.seed)
