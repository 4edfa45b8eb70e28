"""The command `igcl prepare`: the options of each data set, and the way from them to a store. Starts fast."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from igcl_lightning.errors import IgclError, write_message

if TYPE_CHECKING:
    from igcl_lightning.data.preparing.options import Options
    from igcl_lightning.data.sources.source import Source

SECTIONS = ("both", "findings", "impression")
MISSING_REPORT = ("keep-image", "drop", "error")
FITS = ("letterbox", "crop")
MIMIC_LABELS = ("chexpert", "negbio", "radiologists", "none")
PLUS_LABELS = ("chexbert", "chexbert-findings", "chexbert-report", "none")
BLANK = ("missing", "negative", "no-finding")
PHRASINGS = ("mixed", "known", "held_back", "reworded")
VARIANTS = ("standard", "hard_negatives")
SIZE = 256
STUDIES_PER_PROCESS = 256
PRESETS: Mapping[str, Mapping[str, Any]] = {"igcl-authors": {"size": 320, "fit": "authors", "full_decode": True}}
"""Ways to make images square that go by a name; the first is what the authors of IGCL and of CheXzero did."""

TABLE_COLUMNS = {
    "report": "text of the report",
    "patient": "the patient, so that none crosses splits",
    "study": "the study, where it has several images",
    "split": "train, valid or test; drawn by patient where there is none",
    "view": "PA, AP or lateral",
    "age": "age in years",
    "sex": "F or M",
}


NO_REPORT = {
    "none": "rows without a report",
    "empty": "rows with an empty report",
    "Git-LFS pointer": "rows with a Git-LFS pointer in place of a report",
    "not readable": "rows with a report that cannot be read",
}
"""What a summary calls the states of a report, `report_text.STATES`, that it mentions."""


def names(text: str) -> list[str]:
    """Read a comma-separated list of names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def pairs(text: str) -> dict[str, str]:
    """Read comma-separated pairs A=B."""
    parts = [pair.partition("=") for pair in text.split(",")]
    if not all(key and value for key, _, value in parts):
        raise argparse.ArgumentTypeError(f"expected A=B,C=D, got {text!r}")
    return {key.strip(): value.strip() for key, _, value in parts}


Option = tuple[str, dict[str, Any]]

IMAGES: Option = ("--images", {"type": Path, "metavar": "DIR", "help": "folder of the images, where not below --root"})
GRAPHS: Option = (
    "--graphs",
    {"type": Path, "metavar": "PATH", "help": "RadGraph file of the reports, in any of its layouts"},
)
UNCERTAIN: Option = (
    "--uncertain",
    {
        "default": "ignore",
        "metavar": "POLICY",
        "help": "label -1: ignore (default), positive, negative, per-label (as GLoRIA), or LABEL=POLICY,...",
    },
)
BLANKS: Option = (
    "--blank",
    {"choices": BLANK, "default": "missing", "help": "no label: not known (default), 0, or 0 beside No Finding"},
)

READERS: Mapping[str, tuple[str, str, tuple[Option, ...]]] = {
    "mimic-cxr": (
        "MIMIC-CXR-JPG with its reports",
        "mimic_cxr.read_mimic_cxr",
        (
            (
                "--reports",
                {"type": Path, "metavar": "PATH", "help": "folder of reports, or mimic_cxr_sectioned.csv"},
            ),
            ("--labels", {"choices": MIMIC_LABELS, "default": "chexpert", "help": "whose labels"}),
            *(GRAPHS, UNCERTAIN, BLANKS, IMAGES),
        ),
    ),
    "chexpert": (
        "CheXpert v1.0, full or small, and its test set",
        "chexpert.read_chexpert",
        (UNCERTAIN, BLANKS, IMAGES),
    ),
    "chexpert-plus": (
        "CheXpert with the reports of CheXpert Plus",
        "chexpert_plus.read_chexpert_plus",
        (
            (
                "--labels",
                {"choices": PLUS_LABELS, "default": "chexbert", "help": "of which section (chexbert: impression)"},
            ),
            *(GRAPHS, UNCERTAIN, BLANKS, IMAGES),
        ),
    ),
    "openi": ("Open-i, the Indiana University collection", "openi.read_openi", (GRAPHS, IMAGES)),
    "nih-cxr14": ("NIH ChestX-ray14, with its boxes", "nih_cxr14.read_nih_cxr14", (IMAGES,)),
    "covid-chestxray": (
        "covid-chestxray, with its clinical notes",
        "covid_chestxray.read_covid_chestxray",
        (IMAGES,),
    ),
    "rsna": ("RSNA Pneumonia Detection, with its boxes", "rsna.read_rsna", (IMAGES,)),
    "siim": ("SIIM-ACR Pneumothorax, with its masks", "siim.read_siim", (IMAGES,)),
    "vindr": (
        "VinDr-CXR, with its boxes",
        "vindr.read_vindr",
        (
            (
                "--aggregate",
                {"choices": ("majority", "any"), "default": "majority", "help": "of the readers: who decides"},
            ),
            IMAGES,
        ),
    ),
    "padchest": (
        "PadChest",
        "padchest.read_padchest",
        (
            ("--labels", {"type": names, "metavar": "A,B", "help": "labels to keep (default: those of many rows)"}),
            (
                "--min-positives",
                {"type": int, "default": 50, "metavar": "N", "help": "many are so many (default 50)"},
            ),
            (
                "--method",
                {"choices": ("all", "physician", "rnn"), "default": "all", "help": "whose labels (default all)"},
            ),
            IMAGES,
        ),
    ),
    "folder": (
        "any folder of images, with texts of the same name as reports",
        "folder.read_folder",
        (
            (
                "--patient-pattern",
                {
                    "metavar": "REGEX",
                    "help": "its first group in a path is the patient, such as '^(p[0-9]+)/'",
                },
            ),
        ),
    ),
}
"""Help, reader and options of each data set that is a folder; the reader's arguments have the options' names."""


def add_prepare(parser: argparse.ArgumentParser) -> None:
    """Add the data sets and their options to the command."""
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", dest="source", required=True)
    _add_phantom(sources.add_parser("phantom", help="synthetic radiographs with reports, graphs and labels"))
    _add_table(sources.add_parser("table", help="a CSV file or JSON lines that name images, reports, labels"))
    for name, (text, _, options) in READERS.items():
        source = sources.add_parser(name, help=text)
        source.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the data set")
        for flag, how in options:
            source.add_argument(flag, **how)
        _add_common(source)
        source.set_defaults(run=_prepare_folder)


def _add_phantom(phantom: argparse.ArgumentParser) -> None:
    phantom.add_argument("--count", type=int, default=3000, metavar="N", help="number of studies (default 3000)")
    phantom.add_argument("--views", choices=("all", "frontal"), default="all", help="frontal leaves lateral views out")
    phantom.add_argument("--phrasing", choices=PHRASINGS, default="mixed", help="reports in words the parser knows?")
    phantom.add_argument("--variant", choices=VARIANTS, default="standard", help="hard_negatives: twins, all in test")
    phantom.add_argument("--shortcut", metavar="LABEL", help="plant a mark that gives LABEL away, but not in test")
    phantom.add_argument("--masks", action="store_true", help="store the masks of organs, findings and devices")
    _add_common(phantom, size=128, views=False)
    phantom.set_defaults(run=_prepare_phantom)


def _add_table(table: argparse.ArgumentParser) -> None:
    table.add_argument("--csv", type=Path, required=True, metavar="FILE", help="one row per image; .csv or .jsonl")
    table.add_argument("--root", type=Path, metavar="DIR", help="folder of the images (default: the file's)")
    table.add_argument("--image-column", required=True, metavar="NAME", help="file name of the image")
    for column, text in TABLE_COLUMNS.items():
        table.add_argument(f"--{column}-column", metavar="NAME", help=text)
    table.add_argument(GRAPHS[0], **GRAPHS[1])
    table.add_argument("--graph-column", metavar="NAME", help="key in --graphs (default: the study, then the image)")
    table.add_argument("--label-columns", type=names, default=[], metavar="A,B", help="1, 0, -1 (uncertain) or blank")
    for flag, how in (UNCERTAIN, BLANKS):
        table.add_argument(flag, **how)
    table.add_argument("--split-values", type=pairs, default={}, metavar="A=B,..", help="fold0=test,fold1=valid")
    table.add_argument("--extra-columns", type=names, default=[], metavar="A,B", help="further columns to keep")
    table.add_argument("--array-columns", type=names, default=[], metavar="A,B", help="columns that name .npy files")
    table.add_argument("--mask-columns", type=names, default=[], metavar="A,B", help="columns that name masks")
    _add_common(table)
    table.set_defaults(run=_prepare_table)


def _add_common(source: argparse.ArgumentParser, size: int = SIZE, views: bool = True) -> None:
    """Add the options that every data set has."""
    source.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder to write")
    source.add_argument("--size", type=int, metavar="N", help=f"side in pixels (default {size})")
    source.add_argument("--fit", choices=FITS, help="how images become square (default letterbox)")
    source.add_argument("--preset", choices=tuple(PRESETS), help="size and fit of a paper")
    source.add_argument("--quality", type=int, default=95, metavar="Q", help="of the stored JPEGs (default 95)")
    source.add_argument("--lossless", action="store_true", help="store PNG instead of JPEG")
    source.add_argument("--full-decode", action="store_true", help="decode JPEGs at full size: slower, hardly better")
    if views:
        source.add_argument("--views", type=names, default=[], metavar="PA,AP", help="what to keep (default all)")
    source.add_argument("--rename-labels", type=pairs, default={}, metavar="A=B,..", help="labels under other names")
    source.add_argument(
        "--on-missing-report", choices=MISSING_REPORT, default="keep-image", help="a study without a report"
    )
    source.add_argument("--sections", choices=SECTIONS, default="both", help="what of a report is parsed")
    source.add_argument("--reparse", action="store_true", help="parse reports whose graphs the source has")
    source.add_argument("--node-text", metavar="MODEL", help="store a language model's features of graph nodes")
    source.add_argument(
        "--node-text-word", choices=("mean", "sum"), default="mean", help="of a word's pieces; the authors: sum"
    )
    source.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default 0)")
    source.add_argument("--jobs", type=int, metavar="N", help="processes to use (default: one per core)")
    source.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    source.add_argument("--update", action="store_true", help="renew a store; what has not changed is taken over")
    source.add_argument("--overwrite", action="store_true", help="replace a store that exists, finished or not")
    source.set_defaults(default_size=size)


def _prepare_phantom(options: argparse.Namespace) -> None:
    from igcl_lightning.data.sources.phantom import phantom_source

    drawing = ("seed", "variant", "views", "phrasing", "shortcut", "masks")
    size = options.size or options.default_size
    _write_store(
        options, phantom_source(options.count, size=size, **{name: getattr(options, name) for name in drawing})
    )


def _prepare_table(options: argparse.Namespace) -> None:
    from igcl_lightning.data.sources.table import TableColumns, read_table

    if options.graph_column and not options.graphs:
        raise IgclError("--graph-column names keys of a file of graphs; give the file with --graphs")
    named = {name: getattr(options, f"{name}_column") for name in ("image", "graph", *TABLE_COLUMNS)}
    lists = {f"{name}s": getattr(options, f"{name}_columns") for name in ("label", "array", "mask")}
    columns = TableColumns(**named, **lists, extra=options.extra_columns)
    reading = ("root", "split_values", "uncertain", "blank", "seed", "graphs")
    _write_store(options, read_table(options.csv, columns, **{name: getattr(options, name) for name in reading}))


def _prepare_folder(options: argparse.Namespace) -> None:
    module, _, reader = READERS[options.source][1].partition(".")
    read = getattr(importlib.import_module(f"igcl_lightning.data.sources.{module}"), reader)
    arguments = [name for name in inspect.signature(read).parameters if hasattr(options, name)]
    _write_store(options, read(**{name: getattr(options, name) for name in arguments}))


def _write_store(options: argparse.Namespace, source: Source) -> None:
    """Prepare a store with the options every source has, and say what went into it."""
    from igcl_lightning.data.prepare import prepare

    jobs = _jobs(source) if options.jobs is None else options.jobs
    if jobs < 1:
        raise IgclError(f"--jobs is {jobs}, not at least 1")
    doing = {name: getattr(options, name) for name in ("overwrite", "resume", "update")}
    try:
        manifest = prepare(source, options.out, options=_row_options(options), jobs=jobs, **doing)
    except KeyboardInterrupt:
        if options.out.with_name(f"{options.out.name}.partial").exists():
            write_message("warning", "interrupted; what is done is kept: the same command with --resume goes on")
        raise
    sys.stdout.write("".join(f"{line}\n" for line in _summary(options.out, manifest)))


def _row_options(options: argparse.Namespace) -> Options:
    """Return how studies become rows; what is said overrides what a preset says."""
    from igcl_lightning.data.preparing.options import Options

    same = ("quality", "lossless", "rename_labels", "on_missing_report", "sections", "reparse", "node_text")
    how = {name: getattr(options, name) for name in (*same, "node_text_word", "seed")}
    how |= {"size": options.default_size, **PRESETS.get(options.preset, {})}
    chosen = {"size": options.size, "fit": options.fit, "full_decode": options.full_decode or None}
    how |= {name: value for name, value in chosen.items() if value is not None}
    return Options(**how, views=() if options.source == "phantom" else tuple(options.views))


def _summary(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return what a person should know of a store that was prepared: its rows, and everything left out or noticed."""
    lines = [f"{out}: rows {', '.join(f'{count} {split}' for split, count in manifest['rows'].items())}"]
    states = manifest["rows_by_report"]
    reports = {text: states.get(state, 0) for state, text in NO_REPORT.items()}
    if set(states) == {"none"}:  # a data set without reports
        reports = {}
    for title, counts in (
        ("dropped", manifest["dropped"]),
        ("kept", reports),
        ("noticed", {**manifest["flags"], **manifest["source_counts"]}),
    ):
        lines += [f"  {title}: {count} {what}" for what, count in counts.items() if count]
    named = manifest["dropped_rows"] or manifest["flagged_rows"]
    return [*lines, f"  {out / 'manifest.json'} names the rows"] if named else lines


def _jobs(source: Source) -> int:
    """Return the number of processes where none is asked for: a new one costs as much as some hundred studies."""
    cores = available_cores()
    return cores if source.total is None else max(1, min(cores, source.total // STUDIES_PER_PROCESS))


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
