"""The command `igcl evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from igcl_lightning.cli.parser import add_run_options, available_cores, names
from igcl_lightning.errors import UsageError

HELP = "evaluate pretrained models by probes, prompts and retrieval, in one table"
EXAMPLE = (
    "igcl evaluate --protocol linear,zero_shot,retrieval --store stores/mine "
    "--checkpoint runs/igcl/version_0/checkpoints/best.ckpt"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_evaluation_options(parser, "runs/evaluate", None)
    parser.add_argument(
        "--radiologists",
        type=Path,
        metavar="DIR",
        help="readers' answers in the layout of the public CheXpert test labels: score them, and compare --checkpoint "
        "with them on the studies of --store, which has validation rows; takes none of the other options but --out "
        "and --import",
    )


def add_evaluation_options(parser: argparse.ArgumentParser, folder: str, table: str | None) -> None:
    """Add the options of commands that evaluate; `folder` and `table` are defaults."""
    add_run_options(parser, folder)
    parser.add_argument(
        "--protocol",
        type=names,
        metavar="A,B",
        help="linear, few_shot, zero_shot, retrieval, hard_negatives, counterfactuals, others of configs/protocol, or "
        f"files like them (default: {'linear,few_shot' if table is None else 'those of the table'})",
    )
    parser.add_argument("--store", type=Path, metavar="STORE", help="prepared store (default: new phantoms)")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[NAME[:SEED]=]CKPT",
        help="pretrained model; may be repeated, and those of one name with different seeds are averaged",
    )
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="[NAME=]ENC",
        help="timm:NAME or xrv:NAME with published weights, NAME@FILE with weights from a file, or a FILE.parquet of "
        "features; may be repeated",
    )
    parser.add_argument(
        "--train",
        type=names,
        metavar="A[:SEED],B",
        help="methods to pretrain on phantoms first: igcl, convirt, gloria, reclf, reclf_graph, simclr",
    )
    parser.add_argument(
        "--baselines",
        type=names,
        metavar="A,B",
        help="random (weights), supervised (training from scratch), either with another architecture, such as "
        "supervised:densenet121; and probes on metadata (age, sex, view), view or pixels (32 x 32), which a model "
        "should be better than",
    )
    parser.add_argument(
        "--row", action="append", default=[], metavar="NAME", help="row of the table; may be repeated (default: all)"
    )
    pairs = "prepared store that the rows of a table are pretrained on (default: that of the table, or --store)"
    parser.add_argument("--pairs", type=Path, metavar="STORE", help=pairs)
    parser.add_argument("--labels", type=names, metavar="A,B", help="labels to report (default: all but No Finding)")
    given = table or "none"
    parser.add_argument(
        "--table", default=table, metavar="FILE", help=f"table of protocols and methods (default: {given})"
    )
    add_jobs(parser)
    parser.add_argument(
        "--images",
        action="store_true",
        help="put images and reports of the store on the page report.html (default: those of phantoms only)",
    )
    parser.add_argument(
        "--wandb",
        metavar="PROJECT",
        help="log the main table, the figures and the page to Weights & Biases, too (WANDB_MODE=offline: no account)",
    )
    parser.add_argument(
        "--import", action="append", default=[], dest="modules", metavar="MODULE", help="import your own module first"
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add --jobs, the number of contestants at once."""
    jobs = "models at once, with one thread each if more than one (default: one for each GPU, or else for each core)"
    parser.add_argument("--jobs", type=int, metavar="N", help=jobs)


def jobs_of(options: argparse.Namespace) -> int:
    """Return the number of models at once."""
    from igcl_lightning.protocols.children import visible_devices

    return options.jobs if options.jobs is not None else len(visible_devices()) or available_cores()


def files_of(out: Path, *more: Path) -> str:
    """Return the names of the results of an evaluation that are there; `more` are further ones."""
    written = ("results.json", "table.md", "predictions.parquet", "fine_tuned_predictions.parquet", "plots")
    names = (*map(Path, written), *more)
    return ", ".join(str(name) for name in names if (out / name).exists())


def page_of(out: Path) -> str:
    """Return the path of the page of an evaluation, "" if there is none."""
    page = out / "report.html"
    return str(page) if page.exists() else ""


def run(options: argparse.Namespace) -> int:
    """Run the command; the exit status is 1 if something failed."""
    if getattr(options, "radiologists", None) is not None:  # no option of `igcl compare`
        return _compare_with_radiologists(options)
    from igcl_lightning.closing import say, write_closing
    from igcl_lightning.protocols.evaluation import Request, evaluate

    request = Request(
        options.out,
        table=options.table,
        protocols=options.protocol,
        train=options.train,
        baselines=options.baselines,
        rows=options.row,
        pairs=options.pairs,
        store=options.store,
        checkpoints=options.checkpoint,
        encoders=options.encoder,
        labels=options.labels,
        seed=options.seed,
        fast=options.fast,
        jobs=jobs_of(options),
        modules=options.modules,
        images=options.images,
        wandb=options.wandb,
        words=options.words,
    )
    finished = evaluate(request)
    if options.fast:
        say("\nA small, fast run: its numbers show only that everything runs.")
    say("")
    write_closing({"folder": str(options.out), "files": files_of(options.out), "look": page_of(options.out)})
    return 0 if finished else 1


def _compare_with_radiologists(options: argparse.Namespace) -> int:
    """Run the command with --radiologists."""
    others = [
        *("protocol", "encoder", "train", "row", "pairs", "baselines", "labels", "table", "jobs", "fast", "seed"),
        *("images", "wandb"),
    ]
    if given := [f"--{name}" for name in others if not _is_unused(getattr(options, name))]:
        raise UsageError(f"evaluate: {given[0]} is no option of --radiologists")
    if bool(options.checkpoint) != (options.store is not None):
        raise UsageError(
            "evaluate: --radiologists compares --checkpoint on the images of --store; give both or neither"
        )
    from igcl_lightning.closing import write_closing
    from igcl_lightning.protocols.contestants import PAGE
    from igcl_lightning.protocols.radiologists import FILES, Request, compare_with_radiologists

    if options.modules:
        from igcl_lightning.training.lightning_cli import import_modules

        import_modules(options.modules)
    compared = Request(options.radiologists, options.out, options.checkpoint, options.store, options.words)
    compare_with_radiologists(compared)
    files = ", ".join(name for name in FILES if (options.out / name).exists() and name != PAGE)
    write_closing({"folder": str(options.out), "files": files, "look": page_of(options.out)})
    return 0


def _is_unused(value: object) -> bool:
    """Return whether an option was not given; a seed of 0 was."""
    return value is None or value is False or value == []
