"""The options of `igcl prepare` are those that its readers and `prepare` take."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igcl_lightning import phantom
from igcl_lightning.cli import build_parser, main
from igcl_lightning.cli import prepare as _prepare
from igcl_lightning.data import label_policy
from igcl_lightning.data.pictures import fit
from igcl_lightning.data.preparing import options, report_text
from igcl_lightning.data.sources import chexpert_plus, mimic_cxr, padchest, vindr
from igcl_lightning.reports.sections import SECTION_CHOICES


def reader(source):
    module, _, name = _prepare.READERS[source][1].partition(".")
    return getattr(importlib.import_module(f"igcl_lightning.data.sources.{module}"), name)


@pytest.mark.parametrize("source", _prepare.READERS)
def test_every_option_of_a_data_set_is_an_argument_of_its_reader(source):
    named = {flag.removeprefix("--").replace("-", "_") for flag, _ in _prepare.READERS[source][2]}
    assert {*named, "root"} == set(inspect.signature(reader(source)).parameters) - {"seed"}


@pytest.mark.parametrize("source", _prepare.READERS)
def test_options_and_arguments_have_the_same_defaults(source):
    given = build_parser().parse_args(["prepare", source, "--root", "r", "--out", "o"])
    for name, argument in inspect.signature(reader(source)).parameters.items():
        if name != "root":
            assert getattr(given, name) == argument.default, name


def test_choices_are_those_of_the_code():
    assert set(_prepare.FITS) == set(fit.WAYS) - {"authors"}  # which is a preset
    assert tuple(SECTION_CHOICES) == _prepare.SECTIONS
    assert _prepare.MISSING_REPORT == options.MISSING_REPORT
    assert (_prepare.PHRASINGS, _prepare.VARIANTS) == (phantom.PHRASINGS, phantom.VARIANTS)
    assert set(_prepare.NO_REPORT) == set(report_text.STATES) - {"present"}
    assert _prepare.BLANK == label_policy.BLANK
    assert set(_prepare.MIMIC_LABELS) == set(mimic_cxr.LABEL_TABLES)
    assert set(_prepare.PLUS_LABELS) == set(chexpert_plus.LABEL_FILES)
    flags = {flag: how for _, _, flags in _prepare.READERS.values() for flag, how in flags}
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
    chosen = _prepare._row_options(given)
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
        "  dropped: 1 image not readable",
        "  kept: 1 rows without a report",
        "  kept: 1 rows with a Git-LFS pointer in place of a report",
        "  s/manifest.json names the rows",
    ]
