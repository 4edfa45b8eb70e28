"""How a fit that fails ends its run of Weights & Biases; a stand-in for the package notes what it is told."""

import sys
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from igcl_lightning.errors import IgclError, UsageError
from igcl_lightning.training.wandb_trial import drop_anonymous, failing_visibly


class FakeRun:
    def __init__(self):
        self.summary, self.ended = {}, None

    def finish(self, exit_code):
        self.ended = exit_code


@pytest.fixture
def wandb(monkeypatch):
    """A package in which a run goes on; without `run`, `init` begins one."""
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    package = SimpleNamespace(run=FakeRun())
    package.init = lambda: setattr(package, "run", FakeRun()) or package.run
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def fail(error):
    with pytest.raises(type(error)), failing_visibly():
        raise error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (IgclError("the loss is nan"), 1, "the loss is nan"),
        (ValueError("two\nlines"), 1, "two lines"),
        (UsageError("--x: unknown"), 2, "--x: unknown"),
        (SystemExit(143), 143, "ended with status 143"),
        (KeyboardInterrupt(), 1, "KeyboardInterrupt"),
        (ZeroDivisionError("by zero"), None, "by zero"),  # ended by W&B itself, after the traceback
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_ends_as_failed_with_the_message(wandb, error, status, message):
    fail(error)
    assert (wandb.run.ended, wandb.run.summary) == (status, {"error": message})


def test_help_and_success_leave_the_run_alone(wandb):
    fail(SystemExit(0))
    with failing_visibly():
        pass
    assert (wandb.run.ended, wandb.run.summary) == (None, {})


def test_a_trial_that_fails_before_its_run_begins_one(wandb, monkeypatch):
    wandb.run = None
    fail(UsageError("--x: unknown"))
    assert wandb.run is None, "this fit is no trial"
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    fail(UsageError("--x: unknown"))
    assert (wandb.run.ended, wandb.run.summary) == (2, {"error": "--x: unknown"})


def test_the_error_survives_a_backend_that_does_not_answer(wandb, monkeypatch, capsys):
    wandb.run, wandb.init = None, lambda: 1 / 0
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    fail(IgclError("the loss is nan"))
    assert "igcl: warning: the failure could not be reported to W&B" in capsys.readouterr().err


def test_other_processes_of_a_trial_begin_no_run(wandb, monkeypatch):
    from lightning.fabric.utilities import rank_zero_only

    wandb.run = None
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    fail(IgclError("the loss is nan"))
    assert wandb.run is None


@pytest.mark.parametrize(("given", "passed"), [(None, False), (True, True)])
def test_a_setting_without_effect_is_not_passed_unless_asked_for(tmp_path, given, passed):
    logger = WandbLogger(save_dir=tmp_path, offline=True, anonymous=given)
    drop_anonymous([logger, CSVLogger(tmp_path)])
    assert ("anonymous" in logger._wandb_init) == passed
