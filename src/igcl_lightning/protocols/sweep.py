"""`igcl sweep`: the trials of a sweep on this machine, proposed by Optuna.

OUT/study.db           the trials (see `study`)
OUT/trials/trial-N/    the run folder of a trial, with its log
"""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from igcl_lightning.atomic import locked
from igcl_lightning.closing import command, say, say_progress, write_closing
from igcl_lightning.errors import IgclError, UsageError, message_of, suggestion, write_message
from igcl_lightning.protocols.children import run_children, start_child, why_failed
from igcl_lightning.protocols.study import TrialState, database, lacking, open_study, optuna
from igcl_lightning.protocols.sweep_file import Sweep, as_word, read_sweep, search_space
from igcl_lightning.quiet import quiet
from igcl_lightning.training.lightning_cli import check, import_modules
from igcl_lightning.training.options import plain_key

TRIALS = "trials"
WANDB = "logger/wandb.yaml"
CHILD = ["-m", "igcl_lightning.protocols.trial"]


@dataclass
class Work:
    """One trial that runs.

    Attributes:
        trial: the trial.
        folder: its run folder.
        reported: how many values of the metric Optuna knows.
        pruned: whether it was asked to end early.
        start: when it started, in seconds.
    """

    trial: optuna.Trial
    folder: Path
    reported: int = 0
    pruned: bool = False
    start: float = field(default_factory=time.monotonic)

    @property
    def log(self) -> Path:
        """File of its output."""
        return self.folder / "log.txt"


def sweep(
    file: str,
    out: Path,
    *,
    trials: int | None = None,
    jobs: int = 1,
    words: Sequence[str] = (),
    modules: Sequence[str] = (),
) -> bool:
    """Run the trials that are missing, print one line for each and the best, and return whether none failed.

    Args:
        file: the sweep (see `sweep_file.Sweep`).
        out: folder of the results; finished trials are kept, and trials that were interrupted start again.
        trials: number of trials, including earlier ones (default: `run_cap`, or the whole grid).
        jobs: trials that run at once, if more than one with one thread and a share of the GPUs each.
        words: options of `igcl fit` added to the command of the file.
        modules: modules to import first.

    Raises:
        IgclError, UsageError: the file or an option is wrong; raised before anything is trained.
    """
    for name, number in {"--jobs": jobs, "--trials": 1 if trials is None else trials}.items():
        if number < 1:
            raise IgclError(f"{name} is {number}, not at least 1")
    read = read_sweep(file)
    read = given_first(read, words, file)
    shared = [*(f"--import={name}" for name in modules), *read.options, *words]
    wanted = _wanted(read, trials, file)
    try:
        search = Search(read, shared, search_space(read), out, wanted, jobs)
        import_modules(modules)
        search.check()
    except (IgclError, UsageError, ValueError) as error:
        raise IgclError(f"{file}: {error.message if isinstance(error, UsageError) else message_of(error)}") from error
    out.mkdir(parents=True, exist_ok=True)
    with locked(out), database(out):
        return search.run()


def given_first(read: Sweep, words: Sequence[str], file: str) -> Sweep:
    """Return a sweep without the constants that options of the command line replace; a trial's values come last.

    Raises:
        IgclError: an option is searched by the file.
    """
    given = {plain_key(word.partition("=")[0].removeprefix("--")): word for word in words if word.startswith("--")}
    parameters = dict(read.parameters)
    for name, parameter in read.parameters.items():
        if (option := given.get(plain_key(name))) is None:
            continue
        if "value" not in parameter:
            raise IgclError(f"{option.partition('=')[0]}: {file} searches it; take it out of one of them")
        del parameters[name]
    return replace(read, parameters=parameters)


def _wanted(read: Sweep, trials: int | None, file: str) -> int:
    number = trials or read.run_cap
    if read.method == "grid":
        return min(number or read.grid_size, read.grid_size)
    if number is None:
        raise IgclError(f"{file}: it has no end: give --trials, or run_cap in the file")
    return number


@dataclass
class Search:
    """The trials of a sweep.

    Attributes:
        sweep: the sweep.
        words: options of `igcl fit` that all trials share.
        space: distribution of each parameter.
        out: folder of the results.
        wanted: number of trials, including earlier ones.
        jobs: trials that run at once.
    """

    sweep: Sweep
    words: list[str]
    space: dict[str, Any]
    out: Path
    wanted: int
    jobs: int

    def check(self) -> None:
        """Raise `IgclError` or `UsageError` if a trial would fail at its start, or never log the metric."""
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask(self.space)
        # `check` refuses what monitors a metric that nothing logs.
        monitor = ["--trainer.callbacks+=EarlyStopping", f"--trainer.callbacks.monitor={self.sweep.metric.name}"]
        try:
            with quiet():
                check(["fit", *self._trial_words(trial, "CHECK"), *monitor])
        except UsageError as error:
            raise UsageError(error.message.replace("EarlyStopping.monitor", "metric.name", 1)) from None

    def run(self) -> bool:
        """Run the trials that are missing, and return whether none of them failed."""
        self.study = open_study(self.sweep, self.words, self.out, self.jobs)
        self.failed = False
        works = (Work(trial, self._folder(trial.number)) for trial in self._trials())
        try:
            run_children(works, self.jobs, self._start, self._ended, self._is_hopeless)
        except KeyboardInterrupt:
            say("interrupted; the same command goes on")
            raise
        return self._say_best() and not self.failed

    def _trials(self) -> Iterator[optuna.Trial]:
        """Yield the trials that were interrupted, then new ones."""
        for stopped in self.study.get_trials(states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self.study, stopped._trial_id)  # the lock says that nobody else runs it
            for name, distribution in self.space.items():
                trial._suggest(name, distribution)  # those that it was killed before
            yield trial
        points = lacking(self.study, self.sweep)
        while len(self._begun()) < self.wanted:
            if (point := next(points, None)) is not None:
                self.study.enqueue_trial(point)
            yield self.study.ask(self.space)

    def _begun(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]

    def _folder(self, number: int) -> Path:
        return self.out / TRIALS / f"trial-{number}"

    def _options(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> list[str]:
        """Return the options of a trial, in the order of the file."""
        return [f"--{name}={as_word(trial.params[name])}" for name in self.sweep.parameters]

    def _trial_words(self, trial: optuna.Trial, version: str) -> list[str]:
        words = [*self.words, *self._options(trial)]
        words += ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={self.out}"]
        words += [f"--trainer.logger.name={TRIALS}", f"--trainer.logger.version={version}"]
        return [*words, "--trainer.enable_progress_bar=false"]

    def _start(self, work: Work, place: int) -> subprocess.Popen[bytes]:
        shutil.rmtree(work.folder, ignore_errors=True)  # of an interrupted trial
        words = self._trial_words(work.trial, work.folder.name)
        return start_child([*CHILD, "fit", *words], work.log, self.jobs, place)

    def _is_hopeless(self, work: Work) -> bool:
        """Report new values of a trial to Optuna, and return whether it is to end now."""
        if self.sweep.early_terminate is None:
            return False
        try:
            values = logged(work.folder, self.sweep.metric.name)
        except IgclError:  # told when the trial has ended
            return False
        for value in values[work.reported :]:
            work.reported += 1
            work.trial.report(value, work.reported)
            if not work.pruned and work.trial.should_prune():
                work.pruned = True
                return True
        return False

    def _ended(self, work: Work, status: int) -> None:
        """Tell Optuna how a trial ended, and print its line."""
        number, asked_to_end = work.trial.number, work.pruned
        self._is_hopeless(work)  # values since the last look, which others are compared with
        if asked_to_end:
            self.study.tell(number, state=TrialState.PRUNED)
            self._say(work, "ended early")
            return
        try:
            value = _result(work, status, self.sweep.metric.name)
        except IgclError as error:
            self.failed = True
            self.study.tell(number, state=TrialState.FAIL)
            write_message("error", f"trial {number}: {message_of(error)}")
        else:
            self.study.tell(number, value)
            self._say(work, f"{value:.4g}")

    def _say(self, work: Work, result: str) -> None:
        """Print the line of a trial."""
        seconds = time.monotonic() - work.start
        done = sum(trial.state.is_finished() for trial in self._begun())
        shown = {name: work.trial.params[name] for name in self.sweep.parameters}
        options = " ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={as_word(value)}"
            for name, value in shown.items()
        )
        say_progress(f"{done}/{self.wanted} trial {work.trial.number}: {result}; {options}; {seconds:.0f} s")

    def _say_best(self) -> bool:
        """Print the best trial; returns whether there is one."""
        if not self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            say("no trial has a result")
            return False
        best = self.study.best_trial
        say(f"best: trial {best.number}, {self.sweep.metric.name} {best.value:.4g}")
        again = command(["fit", *_without_wandb(self.words), *self._options(best)])
        write_closing({"folder": str(self._folder(best.number)), "again": again})
        return True


def _without_wandb(words: Sequence[str]) -> list[str]:
    """Return the words without the config of the W&B logger, which trials do not use either."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    kept = [word for word, following in pairs if not (word == "--config" and following == WANDB)]
    return [word for word in kept if word not in (WANDB, f"--config={WANDB}")]


def logged(folder: Path, metric: str) -> list[float]:
    """Return the values of a metric in the metrics.csv of a run folder, none without the file.

    Raises:
        IgclError: one is not a number.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    written = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")[0]  # a line may be being written
    try:
        return [float(row[metric]) for row in csv.DictReader(written.splitlines()) if row.get(metric)]
    except (ValueError, csv.Error) as error:
        raise IgclError(f"{path}: {metric}: {error}") from error


def _result(work: Work, status: int, metric: str) -> float:
    """Return the last value of a trial that has ended; raises `IgclError` if it failed or has none."""
    if status:
        raise IgclError(why_failed(work.log, status))
    if values := logged(work.folder, metric):
        if math.isfinite(values[-1]):
            return values[-1]
        raise IgclError(f"{metric} is {values[-1]} (see {work.log})")
    names: list[str] = []
    if (work.folder / "metrics.csv").is_file():
        names = (
            (work.folder / "metrics.csv").read_text(encoding="utf-8", errors="replace").partition("\n")[0].split(",")
        )
    short = "; a short trial may end before its first validation: see trainer.check_val_every_n_epoch"
    raise IgclError(f"never logged {metric}{suggestion(metric, names) or short} (see {work.log})")
