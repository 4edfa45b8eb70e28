"""The command `igcl search`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from igcl_lightning.cli.parser import names
from igcl_lightning.closing import write_closing
from igcl_lightning.data.store_path import read_manifest
from igcl_lightning.errors import IgclError, UsageError, write_message
from igcl_lightning.reports.files import near_path
from igcl_lightning.training.latest import LATEST, find_latest

if TYPE_CHECKING:
    from igcl_lightning.graphs.schema import ReportGraph
    from igcl_lightning.protocols.search import Query

HELP = "find the images of a store that are nearest to a text"
EXAMPLE = 'igcl search runs/igcl/latest stores/mine "small left effusion" --out found.png'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("checkpoint", metavar="CKPT", help="model pretrained on images and reports, or RUNS/latest")
    parser.add_argument("store", type=Path, metavar="STORE", help="prepared store whose images are searched")
    parser.add_argument("text", metavar="TEXT", help="what to look for, in the words of a report")
    parser.add_argument("--split", type=names, default=(), metavar="A,B", help="splits to search (default: all)")
    parser.add_argument("--top", type=int, default=12, metavar="N", help="number of images (default: 12)")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="also write a picture of the images")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of computed embeddings (default: inside the store)"
    )
    parser.add_argument(
        "--import", action="append", default=[], dest="modules", metavar="MODULE", help="import your own module first"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    checkpoint = _checked(options)
    from igcl_lightning.data.store import Store
    from igcl_lightning.protocols.search import nearest_images, read_query, searcher, unseen_words
    from igcl_lightning.protocols.search_sheet import format_hits, write_sheet
    from igcl_lightning.training.lightning_cli import import_modules

    import_modules(options.modules)
    module = searcher(checkpoint)
    query = read_query(module, options.text)
    store = Store(options.store, (module.input_record or {}).get("views"))
    if unseen := unseen_words(module, query):
        write_message("warning", f"no training report has {', '.join(map(repr, unseen))}: the model never read it")
    hits = nearest_images(module, store, query, options.split, options.top, options.cache)
    sys.stdout.write(f"{format_hits(hits, store, shutil.get_terminal_size().columns)}\n")
    if options.out:
        write_sheet(hits, store, options.text, options.out)
    against = _reading(query, query.denial) if query.denial else ""
    read_as = _reading(query, query.graph)
    write_closing({"read as": read_as, "against": against, "picture": str(options.out or "")})


def _checked(options: argparse.Namespace) -> str:
    """Return the path of the checkpoint, after what can be checked before the libraries are imported."""
    if options.top < 1:
        raise UsageError(f"search: --top: {options.top} is not at least 1")
    if options.out and options.out.suffix.lower() != ".png":
        raise UsageError(f"search: --out: {options.out} is not a .png file")
    if options.out and not options.out.parent.is_dir():
        raise IgclError(f"{options.out.parent}: no such folder; create it first")
    if options.checkpoint == LATEST:
        raise UsageError("search: CKPT latest: of which model? Name the runs, such as runs/igcl/latest")
    path = find_latest(options.checkpoint, Path(), resume=False)
    if not Path(path).exists():
        raise IgclError(f"{path}: no such checkpoint{near_path(Path(path))}")
    read_manifest(options.store)
    return path


def _reading(query: Query, graph: ReportGraph) -> str:
    """Return what the model reads of a statement: its words, or its entities, such as "small, left, no effusion"."""
    if query.side != "graph":
        return graph.text
    marks = {"OBS-DA": "no ", "OBS-U": "perhaps "}
    return ", ".join(marks.get(entity.label, "") + entity.tokens for entity in graph.entities)
