"""The command line: `igcl`, `lightning` and `python -m igcl_lightning` are this program.

Light on purpose: Lightning takes ten seconds to import, and only the commands that train need it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from igcl_lightning import __version__
from igcl_lightning.cli.parser import OneLineParser
from igcl_lightning.cli.prepare import SECTIONS, add_prepare, available_cores, names
from igcl_lightning.cli.quiet import quieten
from igcl_lightning.errors import IgclError, UsageError, message_of, write_message

if TYPE_CHECKING:
    from igcl_lightning.graphs.parser import ReportGraphParser

PARSERS = ("rules", "radgraph", "radgraph-xl", "modern-radgraph-xl")
LARGE_PAGE = 10_000_000
LARGEST_SEED = 2**32 - 1
"""That NumPy takes."""

TRAINING_COMMANDS = {
    "fit": "train a model: igcl fit --config pretrain/igcl.yaml",
    "validate": "run the validation of a model",
    "test": "run the test of a model",
    "predict": "write the scores or embeddings of the test split",
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
        write_message("error", error.message)
        return 2
    except (IgclError, ValueError, OSError) as error:
        if debug:
            raise
        write_message("error", _in_one_line(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # how a trainer leaves after Ctrl-C
            return 130
        raise


def _run(words: list[str]) -> int | None:
    if words and words[0] in TRAINING_COMMANDS:
        from igcl_lightning.training import lightning_cli

        lightning_cli.run(words)
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
    message = message_of(error) or type(error).__name__
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
    add_prepare(commands.add_parser("prepare", help="read a data set into a store that training reads fast"))
    _add_graphs(commands.add_parser("graphs", help="parse reports into knowledge graphs"))
    _add_doctor(commands.add_parser("doctor", help="check a store or a config before a long run"))
    _add_compare(commands.add_parser("compare", help="compare methods and encoders at equal budget, in one table"))
    _add_demo(commands.add_parser("demo", help="see it all work on synthetic radiographs, in minutes"))
    return parser


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


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    fitting = ("--data.", "--model.", "--trainer.", "--config", "--ckpt_path", "--import")
    parser.passed_on = fitting  # type: ignore[attr-defined]  # it is a OneLineParser
    parser.description = (
        "Say, worst first, what is wrong with a store, or with a config and its store. Nothing is changed; the exit "
        "status is 1 where training would be wrong or fail. Options of `igcl fit` override those of a config."
    )
    parser.add_argument("target", metavar="STORE_OR_CONFIG", help="a folder, or a config as for igcl fit --config")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page of findings, suspects and pairs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the findings as data")
    parser.add_argument("--samples", type=int, default=24, metavar="N", help="pairs on the page (default 24)")
    parser.add_argument("--rows", type=int, default=4000, metavar="N", help="images to decode; 0: all (default 4000)")
    parser.add_argument("--no-speed", action="store_true", help="do not measure the loader and the model")
    parser.set_defaults(run=_doctor)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="default runs/demo")
    parser.add_argument("--fast", action="store_true", help="smaller and quicker: shows the way, not the numbers")
    _add_seed(parser)
    parser.set_defaults(run=_demo)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="DIR", help="default runs/compare")
    parser.add_argument("--store", type=Path, metavar="STORE", help="a store of yours (default: phantoms, made here)")
    parser.add_argument("--train", type=names, metavar="A,B", help="of igcl,convirt,simclr, on phantoms (default: all)")
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
    parser.add_argument("--labels", type=names, metavar="A,B", help="reported labels (default: all but No Finding)")
    parser.add_argument("--no-supervised", action="store_true", help="leave supervised training from scratch out")
    parser.add_argument("--fast", action="store_true", help="smaller and quicker: shows the way, not the numbers")
    _add_seed(parser)
    parser.add_argument("--import", action="append", default=[], dest="modules", metavar="MODULE", help="of your own")
    parser.set_defaults(run=_compare)


def _add_seed(parser: argparse.ArgumentParser) -> None:
    what = "seed of pretraining (default: that of igcl fit); images, labelled rows and baselines stay the same"
    parser.add_argument("--seed", type=_seed, metavar="N", help=what)


def _seed(word: str) -> int:
    if not word.isdecimal() or int(word) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number from 0 to {LARGEST_SEED}")
    return int(word)


def _graphs(options: argparse.Namespace) -> None:
    from igcl_lightning.reports.parsing import parse_reports

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
        warn=partial(write_message, "warning"),
    )
    if done.pointers:
        write_message(
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
        write_message("warning", f"{page}: large for a browser; --html-limit shows fewer reports")


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
    return available_cores()


def _compare(options: argparse.Namespace) -> None:
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


def _doctor(options: argparse.Namespace) -> int:
    from igcl_lightning.doctor.examination import examine, write_record
    from igcl_lightning.doctor.findings import counted
    from igcl_lightning.doctor.page import write_page

    for name in ("rows", "samples"):
        if getattr(options, name) < 0:
            raise UsageError(f"doctor: --{name}: {getattr(options, name)} is negative")
    for path in filter(None, (options.html, options.json)):
        if not path.parent.is_dir():
            raise IgclError(f"{path.parent}: no such folder, make it first")
    done = examine(options.target, options.passed_on, options.rows, speed=not options.no_speed)
    sys.stdout.writelines(f"{finding.line()}\n" for finding in done.findings)
    sys.stdout.write(f"{done.target}: {counted(done.findings)}\n")
    if options.json:
        write_record(done, options.json)
    if options.html:
        write_page(options.html, done, options.samples)
    return 1 if done.failed else 0


def _demo(options: argparse.Namespace) -> None:
    from igcl_lightning.protocols.demo import run_demo

    run_demo(options.out, fast=options.fast, seed=options.seed)
