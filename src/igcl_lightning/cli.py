"""The command line: `igcl`, `lightning` and `python -m igcl_lightning` are this program.

Light on purpose: Lightning takes ten seconds to import, and only the commands that train need it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from igcl_lightning import __version__
from igcl_lightning._quiet import quieten
from igcl_lightning._usage import OneLineParser, UsageError, one_line, report
from igcl_lightning.errors import IgclError

if TYPE_CHECKING:
    from igcl_lightning.data.prepare import Item
    from igcl_lightning.graphs.parser import ReportGraphParser

PHRASINGS = ("mixed", "known", "held_back", "reworded")
SECTIONS = ("both", "findings", "impression")
PARSERS = ("rules", "radgraph", "radgraph-xl", "modern-radgraph-xl")
VARIANTS = ("standard", "hard_negatives")
LARGE_PAGE = 10_000_000
TRAINING_COMMANDS = {
    "fit": "train a model: igcl fit --config pretrain/igcl.yaml",
    "validate": "run the validation of a model",
    "test": "run the test of a model",
    "predict": "write the scores or embeddings of the test split",
}
TABLE_COLUMNS = {
    "report": "text of the report",
    "patient": "the patient, so that none crosses splits",
    "study": "the study, where it has several images",
    "split": "train, valid or test; drawn by patient where there is none",
    "view": "PA, AP or lateral",
    "age": "age in years",
    "sex": "F or M",
}
EPILOG = """\
a config is looked for in the current folder first, then among the shipped ones; several --config merge left to right.
igcl COMMAND --help lists the options of a command, igcl fit --model.help IGCL those of a model.
fit, validate, test, predict and compare also take:
  --import MODULE   import your own Python module first, so that configs and checkpoints can name its classes
every command also takes:
  --debug           show the full traceback of an error (or set IGCL_DEBUG=1)
"""


def main(args: Sequence[str] | None = None) -> int | None:
    """Run one command.

    Args:
        args: the words after the program's name; those of this process by default.

    Returns:
        The exit status: 2 for wrong usage, 1 when the work could not be done, 130 when interrupted, else 0 or None.
        Errors that nobody foresaw are raised.
    """
    words = list(sys.argv[1:] if args is None else args)
    quieten()
    debug = "--debug" in words or os.environ.get("IGCL_DEBUG", "0") not in ("", "0")
    try:
        return _run([word for word in words if word != "--debug"])
    except UsageError as error:
        report("error", error.message)
        return 2
    except (IgclError, ValueError, OSError) as error:
        if debug:
            raise
        report("error", _in_one_line(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # how a trainer leaves after Ctrl-C
            return 130
        raise


def _run(words: list[str]) -> int | None:
    if words and words[0] in TRAINING_COMMANDS:
        from igcl_lightning import _training

        _training.run(words)
        return 0
    parser = build_parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    options = parser.parse_args(words)
    status: int | None = options.run(options)
    return status


def _in_one_line(error: Exception) -> str:
    """Return the message of an error; one that is not ours says how to learn where it comes from."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {(error.strerror or str(error)).lower()}"
    message = one_line(error) or type(error).__name__
    return f"{message} (--debug shows where)" if isinstance(error, ValueError) else message


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the light commands; it also lists the training commands for `--help`."""
    parser = OneLineParser(
        prog="igcl",
        description="Learn chest X-ray representations by contrasting images with knowledge graphs of their reports.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"igcl-lightning {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, text in TRAINING_COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    _add_prepare(commands.add_parser("prepare", help="read a data set into a store that training reads fast"))
    _add_graphs(commands.add_parser("graphs", help="parse reports into knowledge graphs"))
    _add_compare(commands.add_parser("compare", help="compare methods and encoders at equal budget, in one table"))
    _add_demo(commands.add_parser("demo", help="see it all work on synthetic radiographs, in minutes"))
    return parser


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", dest="source", required=True)
    phantom = sources.add_parser("phantom", help="synthetic radiographs with reports, graphs and labels")
    phantom.add_argument("--count", type=int, default=3000, metavar="N", help="number of studies (default 3000)")
    phantom.add_argument("--views", choices=("all", "frontal"), default="all", help="frontal leaves lateral views out")
    phantom.add_argument("--phrasing", choices=PHRASINGS, default="mixed", help="reports in words the parser knows?")
    phantom.add_argument("--variant", choices=VARIANTS, default="standard", help="hard_negatives: twins, all in test")
    phantom.add_argument("--shortcut", metavar="LABEL", help="plant a mark that gives LABEL away, but not in test")
    table = sources.add_parser("table", help="a CSV file that names images, with reports, labels or both")
    table.add_argument("--csv", type=Path, required=True, metavar="FILE", help="one row per image")
    table.add_argument("--root", type=Path, metavar="DIR", help="folder of the images (default: the CSV file's)")
    table.add_argument("--image-column", required=True, metavar="NAME", help="file name of the image")
    for column, text in TABLE_COLUMNS.items():
        table.add_argument(f"--{column}-column", metavar="NAME", help=text)
    table.add_argument(
        "--graphs", type=Path, metavar="FILE", help="RadGraph file of the reports, in any of its layouts"
    )
    table.add_argument("--graph-column", metavar="NAME", help="key in --graphs (default: the study, then the image)")
    table.add_argument("--label-columns", type=_names, default=[], metavar="A,B", help="1, 0, -1 (uncertain) or blank")
    table.add_argument("--uncertain", choices=("ignore", "positive", "negative"), default="ignore", help="label -1")
    table.add_argument("--split-values", type=_pairs, default={}, metavar="A=B,..", help="fold0=test,fold1=valid")
    table.add_argument("--extra-columns", type=_names, default=[], metavar="A,B", help="further columns to keep")
    table.add_argument("--array-columns", type=_names, default=[], metavar="A,B", help="columns that name .npy files")
    for source, size, run in ((phantom, 128, _prepare_phantom), (table, 256, _prepare_table)):
        source.set_defaults(run=run)
        source.add_argument("--size", type=int, default=size, metavar="N", help=f"side in pixels (default {size})")
        source.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default 0)")
        source.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder to write")
        source.add_argument("--jobs", type=int, default=1, metavar="N", help="processes to use (default 1)")
        source.add_argument("--lossless", action="store_true", help="store PNG instead of JPEG")
        source.add_argument("--sections", choices=SECTIONS, default="both", help="what of a report is parsed")
        source.add_argument("--reparse", action="store_true", help="parse reports whose graphs the source has")
        source.add_argument("--node-text", metavar="MODEL", help="store a language model's features of graph nodes")
        source.add_argument(
            "--node-text-word", choices=("mean", "sum"), default="mean", help="of a word's pieces; the authors: sum"
        )
        source.add_argument("--overwrite", action="store_true", help="replace a store that exists")


def _add_graphs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reports",
        type=Path,
        metavar="REPORTS",
        help='lines {"id": ..., "text": ...} or with "findings" and "impression", a .csv file, a folder of .txt files, '
        "or Open-i's XML as a folder or .tgz",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="GRAPHS.jsonl", help="a line with entities a report")
    parser.add_argument("--sections", choices=SECTIONS, default="both", help="what is parsed (default both)")
    parser.add_argument("--id-column", metavar="NAME", help="column or key of the id (default id or uid)")
    parser.add_argument(
        "--text-column", metavar="NAME", help="column or key of the text (default text, findings, impression)"
    )
    parser.add_argument("--parser", choices=PARSERS, default="rules", help="rules, or a model of the package radgraph")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes to use (default: one per core)")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write a page to look at, a folder's graphs.html"
    )
    parser.add_argument("--html-limit", type=int, default=200, metavar="N", help="reports on the page (default 200)")
    parser.set_defaults(run=_graphs)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default runs/demo")
    parser.add_argument("--fast", action="store_true", help="smaller and quicker: shows the way, not the numbers")
    parser.set_defaults(run=_demo)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="DIR", help="default runs/compare")
    parser.add_argument("--store", type=Path, metavar="STORE", help="a store of yours (default: phantoms, made here)")
    parser.add_argument(
        "--train", type=_names, metavar="A,B", help="of igcl,convirt,simclr, on phantoms (default: all)"
    )
    parser.add_argument(
        "--checkpoint", action="append", default=[], metavar="[NAME=]CKPT", help="a pretrained model; may be repeated"
    )
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="[NAME=]ENC",
        help="timm:NAME or xrv:NAME with published weights, NAME@FILE with those of a file, or a FILE.parquet of "
        "features; may be repeated",
    )
    parser.add_argument("--labels", type=_names, metavar="A,B", help="reported labels (default: all but No Finding)")
    parser.add_argument("--no-supervised", action="store_true", help="leave supervised training from scratch out")
    parser.add_argument("--fast", action="store_true", help="smaller and quicker: shows the way, not the numbers")
    parser.add_argument("--import", action="append", default=[], dest="modules", metavar="MODULE", help="of your own")
    parser.set_defaults(run=_compare)


def _names(text: str) -> list[str]:
    """Read a comma-separated list of column names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _pairs(text: str) -> dict[str, str]:
    """Read comma-separated pairs A=B."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(key and value for key, _, value in pairs):
        raise argparse.ArgumentTypeError(f"expected A=B,C=D, got {text!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _prepare_phantom(options: argparse.Namespace) -> None:
    from igcl_lightning.data.phantom import LABELS, phantom_study

    drawing = {name: getattr(options, name) for name in ("seed", "variant", "views", "phrasing", "shortcut")}
    extra = ["shortcut"] if options.shortcut else []
    studies = [partial(phantom_study, index, size=options.size, **drawing) for index in range(options.count)]
    source = {"name": "phantom", "count": options.count, **drawing}
    _write_store(options, studies, source, labels=LABELS, extra=extra, total=options.count)


def _prepare_table(options: argparse.Namespace) -> None:
    from igcl_lightning.data.prepare import file_hash
    from igcl_lightning.data.sources.table import TableColumns, TableGraphs, read_table

    if options.graph_column and not options.graphs:
        raise IgclError("--graph-column names keys of a file of graphs; give the file with --graphs")
    graphs = TableGraphs(options.graphs) if options.graphs else None
    named = {name: getattr(options, f"{name}_column") for name in ("image", "graph", *TABLE_COLUMNS)}
    kept = {"labels": options.label_columns, "extra": options.extra_columns, "arrays": options.array_columns}
    columns = TableColumns(**named, **kept)
    reading = {"root": options.root, "split_values": options.split_values, "uncertain": options.uncertain}
    studies = read_table(options.csv, columns, seed=options.seed, graphs=graphs, **reading)
    source = {
        "name": "table",
        "csv": options.csv.name,
        "sha256": file_hash(options.csv),
        "uncertain": options.uncertain,
    }
    if graphs is not None:
        file = {"file": options.graphs.name, "sha256": file_hash(options.graphs)}
        source["graphs"] = {**file, **graphs.described()}
    _write_store(options, studies, source, **kept)


def _write_store(
    options: argparse.Namespace, studies: Iterable[Item], source: Mapping[str, object], **contents: Any
) -> None:
    """Prepare a store with the options every source has, and say what went into it."""
    from igcl_lightning.data.prepare import Options, prepare

    how = Options(
        size=options.size,
        lossless=options.lossless,
        sections=options.sections,
        reparse=options.reparse,
        seed=options.seed,
        node_text=options.node_text,
        node_text_word=options.node_text_word,
    )
    manifest = prepare(
        studies, options.out, options=how, source=source, jobs=options.jobs, overwrite=options.overwrite, **contents
    )
    rows = ", ".join(f"{count} {split}" for split, count in manifest["rows"].items())
    dropped = "".join(f"; {count} dropped: {why}, see manifest.json" for why, count in manifest["dropped"].items())
    sys.stdout.write(f"{options.out}: rows {rows}{dropped}\n")


def _graphs(options: argparse.Namespace) -> None:
    from igcl_lightning.graphs.reports import parse_reports

    page = options.html / "graphs.html" if options.html and options.html.is_dir() else options.html
    done = parse_reports(
        options.reports,
        options.out,
        _report_parser(options),
        jobs=_jobs(options),
        sections=options.sections,
        id_column=options.id_column,
        text_column=options.text_column,
        page=page,
        page_limit=options.html_limit,
        warn=partial(report, "warning"),
    )
    if done.pointers:
        report(
            "warning",
            f"{options.reports}: {done.pointers} files left out, such as {done.first_pointer}: Git-LFS pointers in "
            "place of reports; fetch them with git lfs pull",
        )
    resumed = f", {done.resumed} of them from an interrupted run" if done.resumed else ""
    sys.stdout.write(f"{done.reports} reports -> {options.out}{resumed}\n")
    if page:
        _say_size(page)


def _say_size(page: Path) -> None:
    size = page.stat().st_size
    sys.stdout.write(f"{page}: {-(-size // 1000)} kB\n")
    if size > LARGE_PAGE:
        report("warning", f"{page}: large for a browser; --html-limit shows fewer reports")


def _report_parser(options: argparse.Namespace) -> ReportGraphParser | None:
    """Return the model that reads the reports, None for the rules."""
    if options.parser == "rules":
        return None
    from igcl_lightning.graphs.radgraph_model import RadGraphModelParser

    if options.jobs not in (None, 1):
        raise UsageError(f"graphs: --jobs: --parser {options.parser} runs in one process")
    return RadGraphModelParser(options.parser)


def _jobs(options: argparse.Namespace) -> int:
    """Return the number of processes: as asked for, else one for each core that this process may use."""
    if options.jobs is not None:
        return int(options.jobs)
    if options.parser != "rules":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compare(options: argparse.Namespace) -> None:
    from igcl_lightning._training import import_modules, search_current_folder
    from igcl_lightning.compare import compare

    search_current_folder()
    import_modules([f"--import={name}" for name in options.modules])
    compare(
        options.out,
        store=options.store,
        trained=options.train,
        checkpoints=options.checkpoint,
        encoders=options.encoder,
        labels=options.labels,
        supervised=not options.no_supervised,
        fast=options.fast,
    )


def _demo(options: argparse.Namespace) -> None:
    from igcl_lightning.demo import run_demo

    run_demo(options.out, fast=options.fast)
