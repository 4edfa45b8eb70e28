"""The command `igcl prepare`: the options of each data set, and how they become a store.

An option has the name of an argument of the reader, of `Options` or of `prepare`, which holds its default; only given
options are passed on. Choices and defaults are repeated here because those modules are slow to import.
"""

from __future__ import annotations

import argparse
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from igcl_lightning.cli.parser import available_cores, names
from igcl_lightning.closing import command, write_closing
from igcl_lightning.errors import IgclError, write_message
from igcl_lightning.texts import comma_separated

if TYPE_CHECKING:
    from igcl_lightning.data.preparing.options import Options
    from igcl_lightning.data.sources.source import Source

HELP = "convert a data set to a store for training"
EXAMPLE = "igcl prepare folder --root new_images --out stores/new"
SECTIONS = ("both", "findings", "impression")
MISSING_REPORT = ("keep-image", "drop", "error")
FITS = ("letterbox", "crop")
BLANK = ("missing", "negative", "no-finding")
MIMIC_LABELS = ("chexpert", "negbio", "radiologists", "none")
PLUS_LABELS = ("chexbert", "chexbert-findings", "chexbert-report", "none")
PHRASINGS = ("mixed", "known", "held_back", "reworded")
VARIANTS = ("standard", "hard_negatives")
PHANTOM_SIZE = 128  # pixels
STUDIES_PER_PROCESS = 256  # starting a process costs as much as preparing a few hundred studies
PRESETS: Mapping[str, Mapping[str, Any]] = {"igcl-authors": {"size": 320, "fit": "authors", "full_decode": True}}
"""Options by name of a preset; "igcl-authors" follows the authors of IGCL and of CheXzero."""

REPORTS = {
    "present": "found",
    "empty": "blank",
    "none": "missing",
    "Git-LFS pointer": "a Git-LFS pointer",
    "not readable": "not readable",
}
"""Text in the summary for each of `report_text.STATES`."""

NOT_ENGLISH = "report not in English"
"""Flag of rows whose report is not English, `study_rows.OTHER_LANGUAGE`."""

IN_REPORTS = (
    *("report blank", "report is a Git-LFS pointer", "report not readable", "report file missing"),
    NOT_ENGLISH,
)
"""Flags that the line on reports counts."""

MOST_LABELS = 8
"""Number of labels in the summary."""

_NOUNS = "ages boxes classes findings folders images labels lines masks reports regions rows studies texts"
_PLURAL = re.compile(rf"\b(?:{_NOUNS.replace(' ', '|')})\b")
_SINGULAR = {"boxes": "box", "classes": "class", "studies": "study"}

Option = tuple[str, dict[str, Any]]


def pairs(text: str) -> dict[str, str]:
    """Read comma-separated pairs A=B; a pair with a comma stands in double quotes."""
    parts = [pair.partition("=") for pair in comma_separated(text)]
    if not all(key and value for key, _, value in parts):
        raise argparse.ArgumentTypeError(f"expected A=B,C=D, got {text!r}")
    return {key.strip(): value.strip() for key, _, value in parts}


def headers(text: str) -> dict[str, str]:
    """Read a file of headers."""
    from igcl_lightning.reports.sections import read_headers

    return read_headers(Path(text))


def shard(text: str) -> Any:
    """Read a shard, such as 2/8."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, such as 2/8, got {text!r}")
    from igcl_lightning.data.preparing.shards import Shard

    return Shard(int(number), int(count))


def _option(flag: str, text: str, **how: Any) -> Option:
    return flag, {"help": text, **how}


def _column(name: str, text: str, **how: Any) -> Option:
    """Return the option of one column of a table; its value becomes the field of that name in `TableColumns`."""
    return _option(f"--{name}-column", text, dest=name, metavar="NAME", **how)


def _columns(name: str, field: str, text: str) -> Option:
    """Return the option of several columns of a table; its value becomes that field of `TableColumns`."""
    return _option(f"--{name}-columns", text, dest=field, type=names, metavar="A,B")


ROOT = _option("--root", "folder of the data set", type=Path, required=True, metavar="DIR")
IMAGES = _option("--images", "folder of the images (default: below --root)", type=Path, metavar="DIR")
GRAPHS = _option("--graphs", "RadGraph file of the reports, in any layout", type=Path, metavar="PATH")
_UNCERTAIN = "value of label -1: ignore (default), positive, negative, per-label (as in GLoRIA), or LABEL=POLICY,..."
_NODE_TEXT_WORD = "how wordpieces become words (default: mean); the authors of IGCL: sum"
_VARIANT = "hard_negatives: pairs of reports that use the same words (default: standard)"
_BLANK = "value of blank labels: missing (default; unknown), negative (0), or no-finding (0 if No Finding is 1)"
UNCERTAIN = _option("--uncertain", _UNCERTAIN, metavar="POLICY")
BLANKS = _option("--blank", _BLANK, choices=BLANK)

SUBSET = _option("--subset", "only a test subset: 5x200, or a file of image ids", metavar="5x200|FILE")

COMMON = (
    _option("--out", "folder to write", type=Path, required=True, metavar="STORE"),
    _option("--size", "side of the stored images in pixels (default: 256)", type=int, metavar="N"),
    _option("--fit", "how images are made square (default: letterbox)", choices=FITS),
    _option("--preset", "size and fit as in a paper", choices=tuple(PRESETS)),
    _option("--quality", "quality of the stored JPEGs, 1 to 100 (default: 95)", type=int, metavar="Q"),
    _option("--lossless", "store PNG instead of JPEG", action="store_true"),
    _option("--full-decode", "decode JPEGs at full size: slower, little difference", action="store_true"),
    _option("--views", "views to keep (default: all)", type=names, metavar="PA,AP"),
    _option("--rename-labels", "rename label A to B", type=pairs, metavar="A=B,.."),
    _option("--on-missing-report", "policy for studies without a report (default: keep-image)", choices=MISSING_REPORT),
    _option("--sections", "sections of a report to parse (default: both)", choices=SECTIONS),
    _option("--headers", "further headers of sections, lines SECTION<tab>HEADER|HEADER", type=headers, metavar="FILE"),
    _option("--any-language", "parse reports that are not English too", action="store_true"),
    _option("--allow-no-graphs", "make a store although no report gives a graph", action="store_true"),
    _option("--reparse", "parse reports even if the source has their graphs", action="store_true"),
    _option("--node-text", "store features of graph nodes from this language model", metavar="MODEL"),
    _option("--node-text-word", _NODE_TEXT_WORD, choices=("mean", "sum")),
    _option("--held-out", "leave out the patients of these stores", type=Path, nargs="+", metavar="STORE"),
    _option("--seed", "seed of all random draws (default: 0)", type=int, metavar="N"),
    _option("--jobs", "processes (default: one per core)", type=int, metavar="N"),
    _option("--resume", "resume an interrupted run", action="store_true"),
    _option("--shard", "part I of N of the store, for igcl merge", type=shard, metavar="I/N"),
    _option("--update", "rebuild a store, reusing what has not changed", action="store_true"),
    _option("--overwrite", "replace an existing store, finished or not", action="store_true"),
)
"""Options of all data sets."""

READERS: Mapping[str, tuple[str, str, tuple[Option, ...]]] = {
    "phantom": (
        "synthetic radiographs with reports, graphs and labels",
        "phantom.phantom_source",
        (
            _option("--count", "number of studies (default: 3000)", type=int, default=3000, metavar="N"),
            _option("--size", f"side of the images in pixels (default: {PHANTOM_SIZE})", type=int, metavar="N"),
            _option("--views", "all views (default) or frontal ones only", choices=("all", "frontal")),
            _option("--phrasing", "wording of the reports (default: mixed)", choices=PHRASINGS),
            _option("--variant", _VARIANT, choices=VARIANTS),
            _option("--shortcut", "add a mark that reveals LABEL, except in test", metavar="LABEL"),
            _option("--masks", "store the masks of organs, findings and devices", action="store_true"),
        ),
    ),
    "table": (
        "a table of images, reports, labels: CSV, Excel, ...",
        "table.read_table",
        (
            _option("--csv", "table with one row per image, in any form", type=Path, required=True, metavar="FILE"),
            _option("--root", "folder of the images (default: that of the file)", type=Path, metavar="DIR"),
            _column("image", "file name of the image", required=True),
            _column("report", "text of the report"),
            _column("patient", "id of the patient (default: each study is a patient)"),
            _column("study", "id of the study (default: each row is a study)"),
            _column("split", "train, valid or test (default: drawn by patient)"),
            _column("view", "PA, AP or lateral"),
            _column("age", "age in years"),
            _column("sex", "F or M"),
            GRAPHS,
            _column("graph", "key in --graphs (default: study, then image)"),
            _columns("label", "labels", "labels: 1, 0, -1 (uncertain), yes, no or blank"),
            _option("--label-separator", "text between labels that one column lists, such as '|'", metavar="TEXT"),
            _option("--encoding", "encoding of the table (default: found out)", metavar="NAME"),
            _option("--sheet", "sheet of a workbook (default: the one with the columns)", metavar="NAME"),
            *(UNCERTAIN, BLANKS),
            _option("--split-values", "rename splits: fold0=test,fold1=valid", type=pairs, metavar="A=B,.."),
            _columns("extra", "extra", "further columns to keep"),
            _columns("array", "arrays", "columns with paths of .npy files"),
            _columns("mask", "masks", "columns with paths of masks"),
        ),
    ),
    "mimic-cxr": (
        "MIMIC-CXR-JPG with its reports",
        "mimic_cxr.read_mimic_cxr",
        (
            ROOT,
            _option("--reports", "folder or zip of reports, or mimic_cxr_sectioned.csv", type=Path, metavar="PATH"),
            _option("--labels", "source of the labels (default: chexpert)", choices=MIMIC_LABELS),
            *(GRAPHS, UNCERTAIN, BLANKS, IMAGES, SUBSET),
        ),
    ),
    "chexpert": (
        "CheXpert v1.0, full or small, and its test set",
        "chexpert.read_chexpert",
        (
            *(ROOT, UNCERTAIN, BLANKS, IMAGES, SUBSET),
            _option("--masks", "CheXlocalize's regions, a folder or file", type=Path, metavar="PATH"),
        ),
    ),
    "chexpert-plus": (
        "CheXpert with the reports of CheXpert Plus",
        "chexpert_plus.read_chexpert_plus",
        (
            ROOT,
            _option("--labels", "labelled section (default: chexbert, the impression)", choices=PLUS_LABELS),
            *(GRAPHS, UNCERTAIN, BLANKS, IMAGES),
        ),
    ),
    "openi": ("Open-i, the Indiana University collection", "openi.read_openi", (ROOT, GRAPHS, IMAGES)),
    "nih-cxr14": ("NIH ChestX-ray14, with its boxes", "nih_cxr14.read_nih_cxr14", (ROOT, IMAGES)),
    "covid-chestxray": ("covid-chestxray, with notes", "covid_chestxray.read_covid_chestxray", (ROOT, IMAGES)),
    "covidx": ("COVIDx CXR-4, in its own splits", "covidx.read_covidx", (ROOT, IMAGES)),
    "rsna": (
        "RSNA Pneumonia Detection, with its boxes",
        "rsna.read_rsna",
        (ROOT, IMAGES, _option("--masks", "also store the boxes, filled, as masks", action="store_true")),
    ),
    "siim": ("SIIM-ACR Pneumothorax, with its masks", "siim.read_siim", (ROOT, IMAGES)),
    "vindr": (
        "VinDr-CXR, with its boxes",
        "vindr.read_vindr",
        (
            ROOT,
            _option("--aggregate", "readers that must agree (default: majority)", choices=("majority", "any")),
            IMAGES,
        ),
    ),
    "padchest": (
        "PadChest",
        "padchest.read_padchest",
        (
            ROOT,
            _option("--labels", "labels to keep (default: see --min-positives)", type=names, metavar="A,B"),
            _option("--min-positives", "rows that a label needs to be kept (default: 50)", type=int, metavar="N"),
            _option("--method", "source of the labels (default: all)", choices=("all", "physician", "rnn")),
            IMAGES,
        ),
    ),
    "folder": (
        "any folder of images, with reports as text files of the same name",
        "folder.read_folder",
        (
            ROOT,
            _option("--patient-pattern", "first group is the patient in the path: '^(p[0-9]+)/'", metavar="REGEX"),
        ),
    ),
}
"""Help, reader and specific options of each data set."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the data sets and their options."""
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", dest="data_set", required=True)
    for name, (text, _, own) in READERS.items():
        source = sources.add_parser(name, help=text, argument_default=argparse.SUPPRESS)
        flags = {flag for flag, _ in own}
        for flag, how in (*own, *(option for option in COMMON if option[0] not in flags)):
            source.add_argument(flag, **how)


def run(options: argparse.Namespace) -> None:
    """Prepare a store, and print a summary."""
    from igcl_lightning.data.prepare import prepare
    from igcl_lightning.data.preparing.shards import WHOLE

    part = getattr(options, "shard", WHOLE)
    source = _read_source(options)
    jobs = options.jobs if "jobs" in options else _jobs(source)
    if jobs < 1:
        raise IgclError(f"--jobs is {jobs}, not at least 1")
    given = _given(options, prepare)
    try:
        manifest = prepare(source, **given | {"options": _row_options(options), "jobs": jobs})
    except KeyboardInterrupt:
        kept = "finished work is kept: run the same command with --resume"
        nothing = "no work was finished: run the same command again"
        write_message("warning", f"interrupted; {kept if part.folder(options.out).exists() else nothing}")
        raise
    if "shard" in manifest:
        sys.stdout.write(f"{part.folder(options.out)}: complete; when all {part.total} are: igcl merge {options.out}\n")
    else:
        say_summary(options.out, manifest)


def _given(options: argparse.Namespace, function: Callable[..., object]) -> dict[str, Any]:
    """Return the given options that a function has arguments for."""
    return {name: value for name, value in vars(options).items() if name in inspect.signature(function).parameters}


def _read_source(options: argparse.Namespace) -> Source:
    read = pkgutil.resolve_name(f"igcl_lightning.data.sources.{READERS[options.data_set][1]}")
    if (root := getattr(options, "root", None)) is not None and not Path(root).is_dir():
        from igcl_lightning.reports.files import near_path

        state = "a file, not a folder" if Path(root).exists() else f"no such folder{near_path(Path(root))}"
        raise IgclError(f"--root {root}: {state}")
    arguments = _given(options, read)
    if options.data_set == "table":
        from igcl_lightning.data.sources.table import TableColumns

        if "graph" in options and "graphs" not in options:
            raise IgclError("--graph-column names keys of a file of graphs; give the file with --graphs")
        arguments["columns"] = TableColumns(**_given(options, TableColumns))
    elif options.data_set == "phantom":
        from igcl_lightning.phantom import Drawing

        arguments |= _given(options, Drawing)
    source: Source = read(**arguments)
    return source


def _row_options(options: argparse.Namespace) -> Options:
    """Return how studies become rows; given options override a preset."""
    from igcl_lightning.data.preparing.options import Options

    chosen = {**PRESETS.get(getattr(options, "preset", ""), {}), **_given(options, Options)}
    if options.data_set == "phantom":
        chosen = {"size": PHANTOM_SIZE, **chosen, "views": ()}  # its --views says what is drawn
    return Options(**chosen)


def say_summary(out: Path, manifest: Mapping[str, Any]) -> None:
    """Print the lines that describe a prepared store, and the command that usually follows."""
    sys.stdout.writelines(f"{line}\n" for line in summary(out, manifest))
    write_closing({"folder": str(out), "next": command(["doctor", str(out)])})


def summary(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return the lines that describe a prepared store: its rows, and everything left out or noticed."""
    rows = manifest["rows"]
    lacking = [f"no {split}" for split in ("valid", "test") if "train" in rows and split not in rows]
    lines = [f"{out}: rows {', '.join([*(f'{count} {split}' for split, count in rows.items()), *lacking])}"]
    lines += [*_reports(manifest), *_labels(manifest)]
    flags = {flag: count for flag, count in manifest["flags"].items() if flag not in IN_REPORTS}
    counted = {"dropped": manifest["dropped"], "noticed": {**flags, **_views(manifest), **manifest["source_counts"]}}
    for title, counts in counted.items():
        found = ((what, count) for what, count in counts.items() if count)
        lines += [f"  {title}: {count} {what if count > 1 else _singular(what)}" for what, count in found]
    named = manifest["dropped_rows"] or manifest["flagged_rows"]
    return [*lines, f"  {out / 'manifest.json'} names the rows"] if named else lines


def _reports(manifest: Mapping[str, Any]) -> list[str]:
    """Return the lines that count the rows by the state of their report, and by their graph."""
    states, rows = manifest["rows_by_report"], sum(manifest["rows"].values())
    graphs = rows - manifest["rows_with_empty_graph"]
    if set(states) == {"none"} and not graphs:
        return ["  reports: none"]
    counts = {text: states.get(state, 0) for state, text in REPORTS.items()}
    counts["not English"] = manifest["flags"].get(NOT_ENGLISH, 0)
    always = ("found", "blank", "not English")
    said = ", ".join(f"{count} {text}" for text, count in counts.items() if count or text in always)
    return [f"  reports: {said}", f"  graphs: {graphs} with entities, {rows - graphs} without"]


def _labels(manifest: Mapping[str, Any]) -> list[str]:
    """Return the line with the positive and the known rows of the first labels, none without labels."""
    found = manifest.get("label_counts", {})
    said = [f"{name} {count['positive']} of {count['known']}" for name, count in found.items()]
    more = [f"and {len(said) - MOST_LABELS} more"] if len(said) > MOST_LABELS else []
    return [f"  labels: {', '.join([*said[:MOST_LABELS], *more])}"] if said else []


def _views(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of images whose view is not known, with the word that most of them have."""
    odd = manifest.get("views_not_known", {})
    return {f"images whose view is not known, such as {max(odd, key=odd.get)!r}": sum(odd.values())} if odd else {}


def _singular(what: str) -> str:
    """Return what is counted as said of one: "text without image" for "texts without image"."""
    return _PLURAL.sub(lambda match: _SINGULAR.get(match[0], match[0][:-1]), what, count=1)


def _jobs(source: Source) -> int:
    """Return the default number of processes."""
    cores = available_cores()
    return cores if source.total is None else max(1, min(cores, source.total // STUDIES_PER_PROCESS))
