import json
import os
from importlib.metadata import EntryPoint

import pytest
from broken_stores import change_row, said, study, write_store

from igcl_lightning.cli import main
from igcl_lightning.doctor import config_checks
from igcl_lightning.doctor.config_checks import check_command
from igcl_lightning.doctor.findings import LEVELS


def test_a_good_store_ends_with_status_0_and_a_count(store, capsys):
    assert main(["doctor", str(store), "--no-speed"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith(f"{store}: 0 errors, ")
    assert lines[-1] == f"next  igcl fit --config pretrain/igcl.yaml --data.store {store}"
    assert not any(line.startswith("error") for line in lines)


def test_errors_come_first_and_end_with_status_1(store, tmp_path, capsys):
    change_row(store, "test", 0, patient="patient-0")
    change_row(store, "train", 2, age=150.0)
    assert main(["doctor", str(store), "--no-speed", "--json", str(tmp_path / "found.json")]) == 1
    lines = capsys.readouterr().out.splitlines()[:-1]
    levels = [next(level for level in LEVELS if line.startswith(level)) for line in lines]
    assert levels == sorted(levels, key=LEVELS.index)
    assert levels[0] == "error"
    record = json.loads((tmp_path / "found.json").read_text())
    assert record["counts"] == {level: levels.count(level) for level in LEVELS}
    assert lines[0].startswith("error        patients      1 patient in several splits")
    assert "not examined speed         left out with --no-speed" in lines
    assert record["rows"] == {"train": 8, "valid": 2, "test": 2}
    assert record["images_decoded"] == 12
    patients = next(finding for finding in record["findings"] if finding["check"] == "patients")
    assert ["test", "row-5"] in patients["rows"]


def test_nothing_in_the_store_is_changed(store):
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    main(["doctor", str(store)])
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("words", "decoded"), [([], 12), (["--rows", "5"], 5), (["--rows", "0"], 12)])
def test_rows_limits_the_images_that_are_decoded(store, capsys, words, decoded):
    main(["doctor", str(store), "--no-speed", *words])
    assert f"{decoded} of 12 (" in capsys.readouterr().out


def test_the_rate_of_the_loader_is_told_for_a_store(store, capsys):
    main(["doctor", str(store)])
    assert "the loader gives" in capsys.readouterr().out


def test_a_store_whose_patients_cross_splits_cannot_feed_a_training(store, capsys):
    change_row(store, "test", 0, patient="patient-0")
    assert main(["doctor", str(store)]) == 1
    assert "the first batches of training fail" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["none"], 1, "none: no such store; a config ends in .yaml or .yml"),
        (["half"], 1, "half: not a finished store; half.partial is left by an interrupted run: run the same igcl"),
        (["half.partial"], 1, "half.partial: not a finished store; half.partial is left by an interrupted run"),
        (["."], 1, ".: not a store (no manifest.json), and no config"),
        (["STORE", "--data.store", "x"], 2, "doctor: --data.store: overrides a config's option"),
        (["STORE", "--jsn", "x"], 2, "doctor: --jsn: unknown option, did you mean --json?"),
        ([], 2, "doctor: the following arguments are required: STORE_OR_CONFIG"),
    ],
)
def test_wrong_use_is_one_line(store, tmp_path, monkeypatch, capsys, words, status, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.partial").mkdir()
    assert main(["doctor", *(str(store) if word == "STORE" else word for word in words)]) == status
    error = capsys.readouterr().err
    assert error.startswith(f"igcl: error: {message}")
    assert error.count("\n") == 1


def test_a_config_that_does_not_exist_is_an_error_with_what_is_near(capsys):
    assert main(["doctor", "pretrain/igcll.yaml"]) == 1
    assert "did you mean pretrain/igcl.yaml?" in capsys.readouterr().out


def test_options_override_those_of_a_shipped_config(tmp_path, capsys):
    path = write_store(tmp_path / "store", [study(number) for number in range(12)])
    words = ["--data.store", str(path), "--data.batch_size=4", "--trainer.accelerator", "cpu", "--no-speed"]
    assert main(["doctor", "pretrain/phantom.yaml", *words]) == 0
    assert "2 batches of 4 an epoch" in capsys.readouterr().out


def test_the_owner_of_the_command_lightning_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(config_checks, "entry_points", lambda **_: [])
    assert said(check_command(), "ok") == ["no `lightning` on the path; use igcl or python -m igcl_lightning"]
    script = tmp_path / "lightning"
    script.write_text("#!/bin/sh\nfrom igcl_lightning.cli import main\n")
    os.chmod(script, 0o755)
    assert said(check_command(), "ok") == [f"`lightning` is this program, {script}"]
    script.write_text("#!/bin/sh\nfrom other_program.cli import main\n")
    other = EntryPoint("lightning", "other_program.cli:main", "console_scripts")
    monkeypatch.setattr(config_checks, "entry_points", lambda **_: [other])
    message = f"`lightning` is another program, {script}: use igcl instead; "
    assert said(check_command(), "warning") == [f"{message}other_program also installs a command of that name"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--rows", "-5"], 2, "doctor: --rows: -5 is negative"),
        (["--samples", "-3"], 2, "doctor: --samples: -3 is negative"),
        (["--html", "gone/page.html"], 1, "gone: no such folder; create it first"),
    ],
)
def test_odd_arguments_are_named_before_the_work(phantom_store, capsys, words, status, message):
    assert main(["doctor", str(phantom_store), *words]) == status
    assert capsys.readouterr().err == f"igcl: error: {message}\n"
