"""The command `igcl merge`."""

from __future__ import annotations

import argparse
from pathlib import Path

from igcl_lightning.cli.prepare import say_summary

HELP = "make one store of the shards of igcl prepare --shard"
EXAMPLE = "igcl merge stores/mimic"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Make one store of its shards, STORE.shard-1-of-N to STORE.shard-N-of-N, which are removed. It has the bytes "
        "that one run of igcl prepare would write."
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="--out of igcl prepare")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing store")
    parser.add_argument("--allow-no-graphs", action="store_true", help="make a store although no report gives a graph")


def run(options: argparse.Namespace) -> None:
    """Merge the shards, and print the summary of the store."""
    from igcl_lightning.data.preparing.shards import merge

    manifest = merge(options.store, overwrite=options.overwrite, allow_no_graphs=options.allow_no_graphs)
    say_summary(options.store, manifest)
