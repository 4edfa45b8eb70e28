"""The options of `igcl prepare` are those that its readers and `prepare` take."""

import importlib
import inspect
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igcl_lightning import phantom
from igcl_lightning.cli import build_parser, main, prepare
from igcl_lightning.data import label_policy
from igcl_lightning.data import prepare as preparing
from igcl_lightning.data.pictures import fit
from igcl_lightning.data.prepare import prepare as prepare_store
from igcl_lightning.data.preparing import options, report_text
from igcl_lightning.data.preparing.study_rows import OTHER_LANGUAGE, study_rows
from igcl_lightning.data.sources import chexpert_plus, mimic_cxr, padchest, vindr
from igcl_lightning.data.sources.table import TableColumns
from igcl_lightning.reports.sections import SECTION_CHOICES


def reader(source):
    module, _, name = prepare.READERS[source][1].partition(".")
    return getattr(importlib.import_module(f"igcl_lightning.data.sources.{module}"), name)


def arguments(function):
    return inspect.signature(function).parameters


def dest(flag, how):
    return how.get("dest", flag.removeprefix("--").replace("-", "_"))


@pytest.mark.parametrize("source", prepare.READERS)
def test_every_option_of_a_data_set_is_an_argument_of_its_reader(source):
    named = {dest(flag, how) for flag, how in prepare.READERS[source][2]}
    if source == "table":
        assert named > set(arguments(TableColumns))
        named = named - set(arguments(TableColumns)) | {"columns"}
    expected = set(arguments(reader(source)))
    if source == "phantom":
        expected = expected - {"drawing"} | set(arguments(phantom.Drawing))
    assert named == expected - {"seed"}


def test_every_other_option_is_an_argument_of_prepare_or_a_row_option():
    named = {dest(flag, how) for flag, how in prepare.COMMON}
    fixed = {"source", "options", "chunk"}
    assert named - {"preset"} == {*arguments(options.Options), *arguments(prepare_store)} - fixed


@pytest.mark.parametrize("source", [*prepare.READERS, None])
def test_help_names_the_defaults(source):
    flags = prepare.READERS[source][2] if source else prepare.COMMON
    known = arguments(reader(source)) if source else {**arguments(options.Options), **arguments(prepare_store)}
    for flag, how in flags:
        default = re.search(r"\(default: ([\w-]+)\b(?! by)", how["help"])
        argument = known.get(dest(flag, how))
        if flag != "--jobs" and default and argument and argument.default not in (None, inspect.Parameter.empty, ()):
            assert default[1] == str(argument.default), flag


def test_choices_are_those_of_the_code():
    assert set(prepare.FITS) == set(fit.WAYS) - {"authors"}  # which is a preset
    assert tuple(SECTION_CHOICES) == prepare.SECTIONS
    assert prepare.MISSING_REPORT == options.MISSING_REPORT
    assert (prepare.PHRASINGS, prepare.VARIANTS) == (phantom.PHRASINGS, phantom.VARIANTS)
    assert set(prepare.REPORTS) == set(report_text.STATES)
    assert (*report_text.FLAGS.values(), OTHER_LANGUAGE) == prepare.IN_REPORTS
    assert prepare.BLANK == label_policy.BLANK
    assert set(prepare.MIMIC_LABELS) == set(mimic_cxr.LABEL_TABLES)
    assert set(prepare.PLUS_LABELS) == set(chexpert_plus.LABEL_FILES)
    flags = {flag: how for _, _, flags in prepare.READERS.values() for flag, how in flags}
    assert set(flags["--method"]["choices"]) == set(padchest.METHODS)
    assert set(flags["--aggregate"]["choices"]) == set(vindr.AGGREGATE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"size": 256, "fit": "letterbox", "full_decode": False}),
        (["--preset", "igcl-authors"], {"size": 320, "fit": "authors", "full_decode": True}),
        (["--preset", "igcl-authors", "--size", "224"], {"size": 224, "fit": "authors"}),
        (
            ["--fit", "crop", "--full-decode", "--views", "PA,AP"],
            {"fit": "crop", "full_decode": True, "views": ("PA", "AP")},
        ),
    ],
)
def test_what_is_said_overrides_a_preset(words, expected):
    given = build_parser().parse_args(["prepare", "folder", "--root", "r", "--out", "o", *words])
    chosen = prepare._row_options(given)
    assert {name: getattr(chosen, name) for name in expected} == expected


def test_a_store_of_phantoms_with_masks(tmp_path, capsys):
    words = ["prepare", "phantom", "--count", "4", "--size", "64", "--masks", "--out", str(tmp_path / "store")]
    assert main(words) is None
    from igcl_lightning.data.store import Store

    store = Store(tmp_path / "store")
    masks = store.table(store.splits[0])[0]["masks"]
    assert "heart" in masks["label"]
    assert main([*words, "--resume"]) is None
    assert capsys.readouterr().out.count(": rows ") == 2


def test_jobs_must_be_positive(tmp_path, capsys):
    words = ["prepare", "phantom", "--count", "2", "--size", "64", "--jobs", "0", "--out", str(tmp_path / "store")]
    assert main(words) == 1
    assert capsys.readouterr().err == "igcl: error: --jobs is 0, not at least 1\n"


def test_the_summary_tells_what_was_left_out_and_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)).save(f"{name}.png")
    Path("a.txt").write_text("Small effusion.")
    Path("b.txt").write_text("version https://git-lfs.github.com/spec/v1\n")
    Path("d.png").write_bytes(b"no picture")
    assert main(["prepare", "folder", "--root", ".", "--patient-pattern", "(.)", "--size", "16", "--out", "s"]) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("s: rows ")
    assert lines[1:] == [
        "  reports: 1 found, 0 blank, 1 missing, 1 a Git-LFS pointer, 0 not English",
        "  graphs: 1 with entities, 2 without",
        "  dropped: 1 image not readable",
        "  s/manifest.json names the rows",
        "folder  s",
        "next    igcl doctor s",
    ]


def test_many_labels_are_cut_and_one_of_a_kind_is_singular():
    manifest = {"label_counts": {f"L{number}": {"known": 9, "positive": number} for number in range(10)}}
    (line,) = prepare._labels(manifest)
    assert line.startswith("  labels: L0 0 of 9, L1 1 of 9, ")
    assert line.endswith(", L7 7 of 9, and 2 more")
    assert [prepare._singular(what) for what in ("duplicate rows", "studies without images", "image missing")] == [
        *("duplicate row", "study without images", "image missing")
    ]


@pytest.mark.parametrize(("number", "status", "last"), [(signal.SIGINT, 130, "interrupted"), (15, 143, "terminated")])
@pytest.mark.parametrize("chunks", [0, 1])
def test_a_command_that_is_asked_to_end_says_how_to_go_on(tmp_path, monkeypatch, capsys, number, status, last, chunks):
    made, handler = [], signal.getsignal(signal.SIGTERM)

    def rows(item, **options):
        made.append(item)
        if len(made) > 2 * chunks:
            signal.raise_signal(number)
        return study_rows(item, **options)

    monkeypatch.setattr(preparing, "study_rows", rows)
    monkeypatch.setattr(preparing.prepare, "__kwdefaults__", preparing.prepare.__kwdefaults__ | {"chunk": 2})
    words = ["prepare", "phantom", "--count", "6", "--size", "64", "--jobs", "1", "--out", str(tmp_path / "store")]
    assert main(words) == status
    kept = "finished work is kept: run the same command with --resume"
    advice = kept if chunks else "no work was finished: run the same command again"
    assert capsys.readouterr().err.splitlines()[-2:] == [f"igcl: warning: interrupted; {advice}", f"igcl: {last}"]
    assert signal.getsignal(signal.SIGTERM) == handler
    assert (tmp_path / "store.partial").exists() == bool(chunks)
    monkeypatch.setattr(preparing, "study_rows", study_rows)
    assert main([*words, "--resume"] if chunks else words) is None
