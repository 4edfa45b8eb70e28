"""The command `igcl demo`."""

from __future__ import annotations

import argparse

from igcl_lightning.cli.parser import add_run_options

HELP = "pretrain, probe and compare on synthetic radiographs, in minutes"
EXAMPLE = "igcl demo --out runs/demo"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_options(parser, "runs/demo")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from igcl_lightning.protocols.compare import run_demo

    run_demo(options.out, fast=options.fast, seed=options.seed)
