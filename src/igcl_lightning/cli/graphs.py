"""The command `igcl graphs`."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from igcl_lightning.cli.parser import available_cores
from igcl_lightning.cli.prepare import SECTIONS, headers
from igcl_lightning.closing import command, write_closing, write_note
from igcl_lightning.errors import UsageError, write_message

if TYPE_CHECKING:
    from igcl_lightning.graphs.parser import ReportGraphParser

HELP = "parse reports into knowledge graphs"
EXAMPLE = "igcl graphs reports.csv --out graphs.jsonl --html graphs.html"
PARSERS = ("rules", "radgraph", "radgraph-xl", "modern-radgraph-xl")
LARGE_PAGE = 10_000_000  # bytes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "reports",
        type=Path,
        metavar="REPORTS",
        help='JSON lines {"id": ..., "text": ...} or with "findings" and "impression", a table (CSV, Excel, ...), a '
        "folder of .txt files, or Open-i's XML as a folder or .tgz",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="GRAPHS.jsonl", help="output file, one line per report"
    )
    parser.add_argument("--sections", choices=SECTIONS, default="both", help="sections to parse (default: both)")
    parser.add_argument(
        "--headers", type=headers, metavar="FILE", help="further headers of sections, lines SECTION<tab>HEADER|HEADER"
    )
    parser.add_argument("--any-language", action="store_true", help="parse reports that are not English too")
    parser.add_argument("--id-column", metavar="NAME", help="column or key of the id (default: id or uid)")
    parser.add_argument(
        "--text-column", metavar="NAME", help="column or key of the text (default: text, findings, impression)"
    )
    parser.add_argument("--encoding", metavar="NAME", help="encoding of a table (default: found out)")
    parser.add_argument("--sheet", metavar="NAME", help="sheet of a workbook (default: the one with the columns)")
    parser.add_argument(
        "--parser", choices=PARSERS, default="rules", help="rules (default), or a model of the package radgraph"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core, 1 for a model)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write an HTML page; in a folder, graphs.html")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output files")
    parser.add_argument("--html-limit", type=int, default=200, metavar="N", help="reports on the page (default: 200)")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from igcl_lightning.data.sources.report_table import open_reports
    from igcl_lightning.data.sources.table_files import TableForm
    from igcl_lightning.graphs.parser import default_parser
    from igcl_lightning.reports.parsing import parse_reports

    page = options.html / "graphs.html" if options.html and options.html.is_dir() else options.html
    model = None if options.parser == "rules" else _model(options)
    parser = default_parser(any_language=True) if options.any_language and model is None else model
    columns = (options.id_column, options.text_column)
    form = TableForm(options.encoding, options.sheet)
    done = parse_reports(
        open_reports(options.reports, options.sections, *columns, options.headers, form),
        options.out,
        parser,
        jobs=options.jobs if options.jobs is not None else 1 if model else available_cores(),
        page=page,
        page_limit=options.html_limit,
        overwrite=options.overwrite,
        warn=partial(write_message, "warning"),
    )
    if done.pointers:
        left_out = f"{len(done.pointers)} files left out, such as {done.pointers[0]}: Git-LFS pointers, not reports"
        write_message("warning", f"{options.reports}: {left_out}; fetch them with git lfs pull")
    for encoding, count in done.encodings.items():
        write_note(f"{options.reports}: {count} {'file' if count == 1 else 'files'} read as {encoding}")
    if done.foreign:
        graphs = (
            "parsed all the same" if options.any_language or model else "their graphs are empty; see --any-language"
        )
        write_message("warning", f"{options.reports}: {done.foreign} reports are not English: {graphs}")
    resumed = f", {done.resumed} of them from an interrupted run" if done.resumed else ""
    sys.stdout.write(f"{done.reports} reports -> {options.out}{resumed}\n")
    if page and page.stat().st_size > LARGE_PAGE:
        write_message("warning", f"{page}: large for a browser; reduce --html-limit")
    write_closing({"page": str(page or ""), "next": _next(options)})


def _next(options: argparse.Namespace) -> str:
    """Return the command that makes a store of images with the graphs; words in capitals are for the user to choose."""
    from igcl_lightning.data.sources.table_files import TABLES

    table = str(options.reports) if options.reports.suffix in TABLES else "STUDIES.csv"
    words = ["prepare", "table", "--csv", table, "--image-column", "IMAGE", "--graphs", str(options.out)]
    key = ["--graph-column", options.id_column] if options.id_column else []
    return command([*words, *key, "--out", "STORE"])


def _model(options: argparse.Namespace) -> ReportGraphParser:
    from igcl_lightning.graphs.radgraph_model import RadGraphModelParser

    if options.jobs not in (None, 1):
        raise UsageError(f"graphs: --jobs: --parser {options.parser} runs in one process")
    return RadGraphModelParser(options.parser)
