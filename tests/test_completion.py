"""The script for bash completes as a user would see it."""

import subprocess

import pytest

from igcl_lightning.cli import COMMANDS, main

ASK = """
source ./script
COMP_WORDS=("${@}"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
_shtab_igcl
echo "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    with pytest.MonkeyPatch.context() as patch, (folder / "script").open("w") as script:
        patch.setattr("sys.stdout", script)
        assert main(["completion", "bash"]) is None

    def ask(*words):
        done = subprocess.run(["bash", "-c", ASK, "", *words], cwd=folder, capture_output=True, text=True)
        assert not done.stderr
        return done.stdout.split()

    return ask


def test_commands_options_configs_and_classes(complete):
    assert complete("igcl", "fi") == ["fit"]
    assert complete("igcl", "fit", "--data.batch") == ["--data.batch_size"]
    assert "--model.graph.layers" in complete("igcl", "test", "--model.graph.")
    assert "--trainer.max_epochs" in complete("igcl", "fit", "--trainer.max_")
    assert "pretrain/phantom.yaml" in complete("igcl", "fit", "--config", "pretrain/ph")
    assert complete("igcl", "fit", "--model", "SimC") == ["SimCLR"]
    assert complete("igcl", "sweep", "--j") == ["--jobs"]
    assert complete("igcl", "doctor", "--qu") == complete("igcl", "fit", "--qu") == ["--quiet"]


def test_zsh(capsys):
    assert main(["completion", "zsh"]) is None
    assert capsys.readouterr().out.startswith("#compdef igcl")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__.rpartition(".")[2])
def test_every_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main([command.__name__.rpartition(".")[2], "--help"])
    assert f"example: {command.EXAMPLE}" in " ".join(capsys.readouterr().out.split())
