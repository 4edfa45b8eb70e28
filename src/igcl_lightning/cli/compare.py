"""The command `igcl compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from igcl_lightning.cli.parser import add_run_options, names

HELP = "compare methods and encoders at the same budget, in one table"
EXAMPLE = "igcl compare --store stores/mine --checkpoint runs/igcl/version_0/checkpoints/best.ckpt"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_options(parser, "runs/compare")
    parser.add_argument("--store", type=Path, metavar="STORE", help="prepared store (default: new phantoms)")
    parser.add_argument(
        "--train", type=names, metavar="A,B", help="methods to pretrain on phantoms (default: igcl,convirt,simclr)"
    )
    parser.add_argument(
        "--checkpoint", action="append", default=[], metavar="[NAME=]CKPT", help="pretrained model; may be repeated"
    )
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="[NAME=]ENC",
        help="timm:NAME or xrv:NAME with published weights, NAME@FILE with weights from a file, or a FILE.parquet of "
        "features; may be repeated",
    )
    parser.add_argument("--labels", type=names, metavar="A,B", help="labels to report (default: all but No Finding)")
    parser.add_argument("--no-supervised", action="store_true", help="leave out supervised training from scratch")
    parser.add_argument(
        "--import", action="append", default=[], dest="modules", metavar="MODULE", help="import your own module first"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from igcl_lightning.protocols.compare import compare
    from igcl_lightning.training.lightning_cli import import_modules

    import_modules(options.modules)
    compare(
        options.out,
        store=options.store,
        trained=options.train,
        checkpoints=options.checkpoint,
        encoders=options.encoder,
        labels=options.labels,
        supervised=not options.no_supervised,
        fast=options.fast,
        seed=options.seed,
    )
