"""The command line: `igcl`, `lightning` and `python -m igcl_lightning` are this program.

Each command except fit, validate, test and predict is a module of this package with `HELP`, `EXAMPLE`,
`add_options(parser)` and `run(options)`. Heavy imports are inside `run`, since Lightning takes ten seconds to import.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from igcl_lightning import __version__
from igcl_lightning.cli import (
    compare,
    completion,
    demo,
    doctor,
    evaluate,
    graphs,
    merge,
    prepare,
    search,
    sweep,
)
from igcl_lightning.cli.first_look import first_look
from igcl_lightning.cli.parser import OneLineParser
from igcl_lightning.cli.terminating import TERMINATED, Terminated, terminable
from igcl_lightning.closing import QUIET
from igcl_lightning.errors import IgclError, UsageError, message_of, write_message
from igcl_lightning.quiet import quieten

TRAINING_COMMANDS = {
    "fit": "train a model: igcl fit --config pretrain/igcl.yaml",
    "validate": "validate a model",
    "test": "test a model",
    "predict": "write scores or embeddings of images",
}
RESUMABLE = ("prepare", "merge", "graphs", "evaluate", "compare", "demo")
"""Commands that end after SIGTERM as after Ctrl-C; those that train leave it to Lightning."""

COMMANDS = (prepare, merge, graphs, doctor, search, evaluate, compare, demo, sweep, completion)
EPILOG = """\
Configs are looked up in the current folder, then among the shipped ones; a later --config overrides earlier ones.
igcl COMMAND --help lists the options of a command, igcl fit --model.help IGCL those of a model.
fit, validate, test, predict, search, evaluate, compare and sweep also take:
  --import MODULE   import your own Python module first, so that configs and checkpoints can name its classes
Every command also takes:
  --quiet           write results, warnings and errors only (or set IGCL_QUIET=1)
  --debug           show the full traceback of an error (or set IGCL_DEBUG=1)
"""


def main(args: Sequence[str] | None = None) -> int | None:
    """Run one command, by default from `sys.argv`; unexpected errors are raised.

    Returns:
        The exit status: 2 for wrong usage, 1 for a command that failed, 130 when interrupted, 143 when terminated,
        otherwise 0 or None.
    """
    words = list(sys.argv[1:] if args is None else args)
    quieten(is_program=args is None)
    debug = "--debug" in words or os.environ.get("IGCL_DEBUG", "0") not in ("", "0")
    if "--quiet" in words:
        os.environ[QUIET] = "1"
    try:
        return _run([word for word in words if word not in ("--debug", "--quiet")])
    except UsageError as error:
        write_message("error", error.message)
        return 2
    except BrokenPipeError:  # who read the output has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (IgclError, ValueError, OSError) as error:
        if debug:
            raise
        write_message("error", _in_one_line(error))
        return 1
    except Terminated:
        sys.stderr.write("igcl: terminated\n")
        return TERMINATED
    except KeyboardInterrupt:
        sys.stderr.write("igcl: interrupted\n")
        return 130
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # raised by a trainer after Ctrl-C
            return 130
        raise


def _run(words: list[str]) -> int | None:
    if words and words[0] in TRAINING_COMMANDS:
        if words := first_look(words):
            from igcl_lightning.training import lightning_cli

            lightning_cli.run(words)
        return 0
    parser = build_parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    options = parser.parse_args(words)
    options.words = words
    with terminable() if options.command in RESUMABLE else nullcontext():
        status: int | None = options.run(options)
    return status


def _in_one_line(error: Exception) -> str:
    """Return the message of an error; one of another library also says how to see its traceback."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {(error.strerror or str(error)).lower()}"
    message = message_of(error) or type(error).__name__
    return f"{message} (--debug shows where)" if isinstance(error, ValueError) else message


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the commands in this package; it also lists the training commands for `--help`."""
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
    for module in COMMANDS:
        text = f"{module.HELP[0].upper()}{module.HELP[1:]}."
        name, example = module.__name__.rpartition(".")[2], f"example: {module.EXAMPLE}"
        command = commands.add_parser(name, help=module.HELP, description=text, epilog=example)
        module.add_options(command)
        command.set_defaults(run=module.run)
    return parser
