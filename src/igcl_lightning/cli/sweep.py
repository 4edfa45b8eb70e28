"""The command `igcl sweep`."""

from __future__ import annotations

import argparse
from pathlib import Path

from igcl_lightning.cli.parser import OneLineParser

HELP = "search hyper-parameters on this machine, without an account, resumable"
EXAMPLE = "igcl sweep sweep/phantom.yaml --jobs 2"


def add_options(parser: OneLineParser) -> None:
    """Add the options of the command."""
    parser.passed_on = ("--data.", "--model.", "--trainer.", "--config", "--seed_everything")
    parser.description = (
        "Run the trials of a sweep of Weights & Biases with Optuna. A killed sweep goes on with the same command. "
        "Options of `igcl fit` are added to the command of the file."
    )
    parser.add_argument("file", metavar="FILE", help="sweep, such as sweep/pretrain.yaml")
    trials = "number of trials, including earlier ones (default: run_cap of the file, or the whole grid)"
    parser.add_argument("--trials", type=int, metavar="N", help=trials)
    jobs = "trials that run at once, with one thread each if more than one (default: 1)"
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help=jobs)
    out = "folder of the results; finished trials in it are kept (default: runs/sweep-NAME of the file)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    parser.add_argument(
        "--import", action="append", default=[], dest="modules", metavar="MODULE", help="import your own module first"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status is 1 if a trial failed."""
    from igcl_lightning.protocols.sweep import sweep

    out = options.out or Path("runs") / f"sweep-{Path(options.file).stem}"
    words = options.passed_on
    finished = sweep(options.file, out, trials=options.trials, jobs=options.jobs, words=words, modules=options.modules)
    return 0 if finished else 1
