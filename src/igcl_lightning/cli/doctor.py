"""The command `igcl doctor`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from igcl_lightning.cli.parser import OneLineParser
from igcl_lightning.closing import command, write_closing
from igcl_lightning.errors import IgclError, UsageError

if TYPE_CHECKING:
    from igcl_lightning.doctor.examination import Examination

HELP = "check a store or a config before a long run"
EXAMPLE = "igcl doctor stores/mine --html doctor.html"


def add_options(parser: OneLineParser) -> None:
    """Add the options of the command."""
    parser.passed_on = ("--data.", "--model.", "--trainer.", "--config", "--ckpt_path", "--import")
    parser.description = (
        "List problems of a store, or of a config and its store, worst first. Nothing is changed. The exit status "
        "is 1 if training would fail or be wrong. Options of `igcl fit` override those of a config."
    )
    parser.add_argument("target", metavar="STORE_OR_CONFIG", help="folder of a store, or a config as for igcl fit")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write an HTML page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the findings as JSON")
    parser.add_argument("--samples", type=int, default=24, metavar="N", help="sample pairs on the page (default: 24)")
    parser.add_argument(
        "--rows", type=int, default=4000, metavar="N", help="images to decode, 0 for all (default: 4000)"
    )
    parser.add_argument("--no-speed", action="store_true", help="skip the speed measurement")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    from igcl_lightning.doctor.examination import examine
    from igcl_lightning.doctor.findings import counted
    from igcl_lightning.doctor.page import write_page

    for name in ("rows", "samples"):
        if getattr(options, name) < 0:
            raise UsageError(f"doctor: --{name}: {getattr(options, name)} is negative")
    for path in filter(None, (options.html, options.json)):
        if not path.parent.is_dir():
            raise IgclError(f"{path.parent}: no such folder; create it first")
    done = examine(options.target, options.passed_on, options.rows, speed=not options.no_speed)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    sys.stdout.writelines(f"{finding.line(width)}\n" for finding in done.findings)
    sys.stdout.write(f"{done.target}: {counted(done.findings)}\n")
    if options.json:
        done.write_record(options.json)
    if options.html:
        write_page(options.html, done, options.samples)
    write_closing({"page": str(options.html or ""), "next": "" if done.failed else _next(options, done)})
    return 1 if done.failed else 0


def _next(options: argparse.Namespace, done: Examination) -> str:
    """Return the command that usually follows: training with the config, or on the store as far as its rows allow."""
    if done.store is None or not Path(options.target).is_dir():
        return command(["fit", "--config", options.target, *options.passed_on])
    store = ["--data.store", options.target]
    if done.store.is_new:
        return command(["predict", "--config", "probe/linear.yaml", *store, "--ckpt_path", "latest"])
    config = "pretrain/igcl.yaml" if done.store.has_reports else "probe/supervised.yaml"
    return command(["fit", "--config", config, *store])
