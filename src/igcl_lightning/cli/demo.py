"""The command `igcl demo`: `igcl evaluate` with a table of its own, on phantoms."""

from __future__ import annotations

import argparse
from pathlib import Path

from igcl_lightning.cli.evaluate import add_jobs, files_of, jobs_of, page_of
from igcl_lightning.cli.parser import add_run_options

HELP = "pretrain, probe and compare on synthetic radiographs, in minutes"
EXAMPLE = "igcl demo --out runs/demo"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_options(parser, "runs/demo")
    add_jobs(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status is 1 if something failed."""
    from igcl_lightning.closing import command, say, write_closing
    from igcl_lightning.protocols.evaluation import Request, evaluate

    about = {"seed": options.seed, "fast": options.fast, "jobs": jobs_of(options), "words": options.words}
    request = Request(options.out, table="evaluation/demo.yaml", **about)
    finished = evaluate(request)
    shown = "only that everything runs" if options.fast else "that the method works, not how well on patients"
    say(f"\nThese results are for {'a few ' * options.fast}synthetic phantoms: they show {shown}.\n")
    run = Path("igcl" if options.seed is None else f"igcl-{options.seed}", "version_0")
    checkpoint = run / "checkpoints" / "last.ckpt"
    probe = ["fit", "--config", "probe/linear.yaml", "--data.store", str(options.out / "store")]
    write_closing(
        {
            "folder": str(options.out),
            "files": files_of(options.out, run / "plots", checkpoint),
            "look": page_of(options.out),
            "next": command([*probe, "--model.checkpoint", str(options.out / checkpoint)]),
        }
    )
    return 0 if finished else 1
