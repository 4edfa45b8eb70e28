"""The command `igcl ablate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from igcl_lightning.cli.parser import seed

HELP = "pretrain and measure the rows of a table, resumable"
EXAMPLE = "igcl ablate --table ablation/targets.yaml --out runs/targets --jobs 2"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    table = "table of methods, such as ablation/reclf.yaml"
    parser.add_argument("--table", required=True, metavar="FILE", help=table)
    out = "folder of the results; finished cells in it are kept (default: runs/ablate)"
    parser.add_argument("--out", type=Path, default=Path("runs/ablate"), metavar="DIR", help=out)
    jobs = "cells that run at once, with one thread each if more than one (default: 1)"
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help=jobs)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="rows to run (default: all)")
    seeds = "seeds of pretraining, instead of those of the table"
    parser.add_argument("--seeds", type=_seeds, default=(), metavar="A,B", help=seeds)
    report = "ask for the hard negatives that are reported once, too; choose a method without them"
    parser.add_argument("--report", action="store_true", help=report)
    parser.add_argument(
        "--import", action="append", default=[], dest="modules", metavar="MODULE", help="import your own module first"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status is 1 if a cell failed."""
    from igcl_lightning.protocols.ablation import ablate

    finished = ablate(
        options.table,
        options.out,
        jobs=options.jobs,
        only=options.only,
        seeds=options.seeds,
        report=options.report,
        modules=options.modules,
    )
    return 0 if finished else 1


def _seeds(words: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(seed(word.strip()) for word in words.split(",")))
