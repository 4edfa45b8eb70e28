"""fit, validate, test and predict: `LightningCLI` with stricter checks, one line per error and a fixed run folder.

Importing this module imports Lightning and every class that a config may name without its module.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.fabric.utilities import rank_zero_only
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException

import igcl_lightning.callbacks
import igcl_lightning.data.modules
import igcl_lightning.modules  # noqa: F401  # with the two above: configs may name their classes without the module
from igcl_lightning.closing import is_quiet
from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.store_module import StoreDataModule
from igcl_lightning.errors import IgclError, UsageError, one_line, suggestion, write_message
from igcl_lightning.modules.base import BaseModule, module_class
from igcl_lightning.modules.checkpoint import (
    CLASS_PATH,
    HYPER_PARAMETERS,
    class_path,
    read_checkpoint,
    split_arguments,
    subclasses,
)
from igcl_lightning.modules.classifier import ClassifierModule
from igcl_lightning.modules.head import HeadModule
from igcl_lightning.run_folder import RunConfig, keep_metrics
from igcl_lightning.training.checkpoints import LastCheckpoint, use_plain_checkpoints
from igcl_lightning.training.class_options import class_options, owners
from igcl_lightning.training.closing import Started, forget_unused, say_end, say_resume
from igcl_lightning.training.divergence import StopIfDiverged
from igcl_lightning.training.metric_table import MetricTable
from igcl_lightning.training.monitors import refuse_unknown_monitors
from igcl_lightning.training.options import (
    NOT_A_GROUP,
    Written,
    explain,
    is_checkpoint_word,
    null_groups,
    nulls,
    read_options,
    snake_case,
)
from igcl_lightning.training.progress import use_run_progress
from igcl_lightning.training.resume import ExactResume, continue_wandb_run
from igcl_lightning.training.slurm import continue_job
from igcl_lightning.training.wandb_trial import drop_anonymous, failing_visibly, project_of_sweep

DEFAULT_SEED = 42
IMPORT_HELP = "--import MODULE (may be repeated) imports your own module first; --debug shows the traceback of errors"
DEFAULT_LOGGER = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "runs", "name": None}}
OPTION_CLASSES: dict[str, type] = {
    "model": BaseModule,
    "data": LightningDataModule,
    "trainer.callbacks": Callback,
    "trainer.logger": Logger,
}


def run(words: list[str], *, closing: bool = True) -> None:
    """Run fit, validate, test or predict, given the subcommand and its options.

    Args:
        words: the subcommand and its options.
        closing: whether to say at the end where the run wrote and what comes next.

    Raises:
        UsageError: an option, a config key or a value is wrong.
        IgclError: Lightning refuses the options, such as a GPU on a machine without one, or a checkpoint does not fit.
        SystemExit: the process was asked to end (SIGTERM).
    """
    with failing_visibly():
        try:
            TrainingCLI(words, closing=closing)
        except MisconfigurationException as error:
            raise IgclError(_refusal(error)) from error
        except SIGTERMException:
            raise SystemExit(128 + signal.SIGTERM) from None
        except RuntimeError as error:
            if not re.search(r"Connection (closed|reset) by peer|[Rr]emote process exited", str(error)):
                raise
            raise IgclError("another process of this run has ended; its own message says why") from error
        except Exception as error:
            if not type(error).__module__.startswith("wandb."):
                raise
            reason = one_line(error)[:300].rstrip(".")
            raise IgclError(f"{reason}, or add --trainer.logger.offline true") from error


def check(words: list[str], *, opened: bool = False) -> tuple[str, LightningModule]:
    """Build everything that `run` would with these options, run nothing, and return the merged options and the model.

    The options are YAML.

    Args:
        words: the subcommand and its options.
        opened: whether the store is there, and must have what a fit needs.

    Raises:
        UsageError, IgclError: as `run`, for everything that is wrong before the first step.
    """
    try:
        checked = _UnrunCLI(words)
        if opened:
            checked.open_data()
    except MisconfigurationException as error:
        raise IgclError(_refusal(error)) from error
    merged: str = checked.parser.dump(checked.config, skip_none=False)
    return merged, checked.model


def _refusal(error: MisconfigurationException) -> str:
    """Return Lightning's message, with what to do where it does not say."""
    message = one_line(error)[:400]
    missing = re.search(r"No supported gpu backend|GPU.* not (available|found)|CUDAAccelerator.* can not run", message)
    return f"{message.rstrip('!.')}: add --trainer.accelerator cpu" if missing else message


def import_modules(names: Iterable[str]) -> None:
    """Import modules that are installed or in the current folder; `UsageError` for a module that does not exist."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # console scripts do not search it; last, so that it shadows nothing
    for name in names:
        try:
            importlib.import_module(name)
        except (ModuleNotFoundError, ValueError) as error:
            if getattr(error, "name", name) != name:  # raised by the module itself
                raise
            raise UsageError(f"--import {name}: no such module, in the current folder or installed") from None


def _take_imports(words: list[str]) -> list[str]:
    """Import what `--import` names, and return the other words."""
    names, rest, remaining = [], [], iter(words)
    for word in remaining:
        option, equals, name = word.partition("=")
        if option == "--import":
            names.append(name if equals else next(remaining, ""))
        else:
            rest.append(word)
    import_modules(names)
    return rest


class _Rejected(SystemExit):
    """The parser's message, before it is explained; a `SystemExit` for the same reason as `UsageError`."""


class _Parser(LightningArgumentParser):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # jsonargparse makes parsers of this class for the arguments of models and data, too.
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise _Rejected(message) from ex


class TrainingCLI(LightningCLI):
    """`LightningCLI` for any `BaseModule` and any data module, given by class name.

    Differences from Lightning: a fixed default seed, a run folder `runs/NAME/version_K`, no `--optimizer` (it would
    silently replace `configure_optimizers`), no abbreviated options, checkpoints that load as plain data only, one line
    per mistake, and `--import`.
    """

    def __init__(self, words: list[str], *, closing: bool = True) -> None:
        self.words, self.closing = list(words), closing
        words, self.written = read_options(_take_imports(words))
        self.command = words[0]
        about: dict[str, Any] = {"epilog": IMPORT_HELP}
        super().__init__(
            model_class=BaseModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=RunConfig,
            trainer_defaults={
                "logger": DEFAULT_LOGGER,
                "callbacks": [Started(), LastCheckpoint(), ExactResume(), StopIfDiverged(), MetricTable()],
                "enable_model_summary": False,
            },
            seed_everything_default=DEFAULT_SEED,
            parser_class=_Parser,
            parser_kwargs={"prog": "igcl", **about, **{name: dict(about) for name in self.subcommands()}},
            auto_configure_optimizers=False,
            args=null_groups(words),
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static there, called on the instance
        """Return the subcommand that runs, without the option `--weights_only`, which is always on.

        Parsers of the other three would take as long again as everything else before training.
        """
        return {self.command: {*super().subcommands()[self.command], "weights_only"}}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line; a mistake raises a `UsageError` of one line."""
        try:
            self.config = parser.parse_args(args)
        except _Rejected as rejected:
            raise UsageError(self._explain(str(rejected), command=args[0])) from None

    def before_instantiate_classes(self) -> None:
        """Check groups; name the run folder after the model's class, or the project of the sweep that W&B runs."""
        options = self.config[self.subcommand]
        for part in ("model", "data"):
            if chosen := options.get(part):
                refuse_wrong_groups(part, chosen)
        if options.trainer.fast_dev_run:
            self._scratch = TemporaryDirectory(prefix="igcl-")  # removed with this object
            options.trainer.default_root_dir = self._scratch.name
        if is_quiet():
            options.trainer.enable_progress_bar = False
        loggers = options.trainer.logger
        for logger in loggers if isinstance(loggers, list) else [loggers]:
            kind = logger.class_path.rpartition(".")[2] if isinstance(logger, Namespace) else ""
            if kind == "CSVLogger" and logger.init_args.name is None:
                logger.init_args.name = snake_case(options.model.class_path.rpartition(".")[2])
            if kind == "WandbLogger" and (project := project_of_sweep()):
                logger.init_args.project = project

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; raise errors of constructors, which jsonargparse would wrap."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if named := re.search(r"invalid accelerator name: `accelerator='(.*?)'`.* are: (.*)\.", str(error)):
                known = sorted({"gpu", *re.findall(r"\w+", named[2])})
                near = suggestion(named[1], known)
                raise UsageError(f"--trainer.accelerator {named[1]}: not one of {', '.join(known)}{near}") from None
            origin: BaseException = error
            while origin.__cause__ and str(origin).startswith("Does not validate against any of the Union"):
                origin = origin.__cause__
            raise origin from origin.__cause__

    def after_instantiate_classes(self) -> None:
        """Check for errors that would occur later in the run, and keep the metrics of an earlier run."""
        refuse_clash(self.model, self.datamodule)
        options = self.config[self.subcommand].trainer
        on_cpus = self.trainer.world_size > 1 and isinstance(self.trainer.accelerator, CPUAccelerator)
        if options.sync_batchnorm and on_cpus:
            raise UsageError("--trainer.sync_batchnorm true: PyTorch synchronises on GPUs only; set it to false")
        if self.subcommand == "fit":
            refuse_unknown_monitors(self.trainer, self.model, self.datamodule)
            if isinstance(self.datamodule, PairedDataModule):
                self.datamodule.check_model(self.model)  # before a table of runs begins
        drop_anonymous(self.trainer.loggers)
        use_plain_checkpoints(self.trainer)
        use_run_progress(self.trainer)
        keep_metrics(self.trainer)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run, and say how it ended; an error while a checkpoint is restored becomes one line that names the file."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]  # set, but not declared
        (started,) = (each for each in callbacks if isinstance(each, Started))
        (last,) = (each for each in callbacks if isinstance(each, LastCheckpoint))
        started.look(self.trainer)
        try:
            super()._run_subcommand(subcommand)
        except BaseException as error:
            if self.trainer.is_global_zero:
                forget_unused(started)
                say_resume(self.words, self.trainer, last.saved)
            if not _is_restoring(error) or (path := str(self.trainer.ckpt_path)) in str(error):
                raise
            reason = error if isinstance(error, IgclError) else f"cannot be restored ({one_line(repr(error))[:300]})"
            raise IgclError(f"{path}: {reason}") from error
        if self.closing:
            say_end(self.words, self.trainer, self.model, started)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        return {**super()._prepare_subcommand_kwargs(subcommand), "weights_only": True}

    def _parse_ckpt_path(self) -> None:
        """Take the model from the checkpoint, as Lightning does, and warn of the options that it overrides."""
        command = self.config.subcommand
        if command == "fit":
            name = snake_case(self.config.fit.model.class_path.rpartition(".")[2])
            continue_job(self.config.fit, self.words, name)
        given = self.config[command].get("ckpt_path")
        usual = pkgutil.resolve_name(self.config[command].model.class_path)
        if not given and command in ("validate", "test", "predict") and getattr(usual, "trains", True):
            weights = "the model has its initial weights"
            write_message("warning", f"{command} without --ckpt_path: {weights}")
        if not given or is_checkpoint_word(given) or "://" in given or Path(given).is_dir():
            return
        if command == "fit":
            continue_wandb_run(self.config.fit.trainer.logger, Path(given))
        before = dict(_model_options(self.config[command].model))
        model = stored_model(Path(given), before["model"])
        refuse_other_kind(given, before["model"], model["class_path"])
        try:
            self.config = self.parser.parse_object({command: {"model": model}}, self.config)
        except _Rejected as rejected:
            raise UsageError(f"--ckpt_path {given}: not for this model: {rejected}") from None
        _warn_overridden(given, self.written, before, dict(_model_options(self.config[command].model)))

    def _explain(self, message: str, command: str) -> str:
        if "are required" in message:
            missing = re.sub(rf"\b{command}\.", "--", one_line(message).rpartition(": ")[2])
            return f"{command} needs {missing}: give them, or a --config that does, such as --config pretrain/igcl.yaml"
        known = set(self._subcommand_parsers[command].get_defaults().keys())
        for prefix, base in OPTION_CLASSES.items():
            known.update(class_options(prefix, base, self.written))
        classes = {cls.__name__ for base in OPTION_CLASSES.values() for cls in subclasses(base)}
        elsewhere = {
            name: having for prefix, base in OPTION_CLASSES.items() for name, having in owners(prefix, base).items()
        }
        return explain(message, self.written, known, classes, elsewhere)


class _UnrunCLI(TrainingCLI):
    """Parses and builds, and stops there."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""

    def open_data(self) -> None:
        """Set the data up for a fit of the model, which says what it reads."""
        if isinstance(self.datamodule, StoreDataModule):  # others may need `prepare_data` first
            self.trainer.strategy.connect(self.model)
            self.datamodule.trainer = self.trainer
            self.datamodule.setup("fit")


def stored_model(path: Path, usual: str) -> dict[str, Any]:
    """Return class and arguments of a checkpoint's model in the form of a config.

    Args:
        path: the checkpoint.
        usual: class path for a checkpoint that names none.

    Raises:
        IgclError: the file is no checkpoint, or names a class that is not imported or arguments that the class lacks.
    """
    stored = read_checkpoint(path)[HYPER_PARAMETERS]
    name = stored.get(CLASS_PATH, usual)
    module = name.rpartition(".")[0]
    if module not in sys.modules:
        raise IgclError(f"{path}: its class {name} is not imported; if you trust it, add --import {module}")
    try:
        named, others = split_arguments(module_class(name), stored)
    except IgclError as error:
        raise IgclError(f"{path}: {error}") from None
    return {"class_path": name, "init_args": named, **({"dict_kwargs": others} if others else {})}


def refuse_other_kind(path: str, usual: str, stored: str) -> None:
    """Raise `IgclError` for a model of another task than that of the config, both by class path."""
    wanted, kind = pkgutil.resolve_name(usual), module_class(stored)
    tasks = (HeadModule, ClassifierModule)
    if all(issubclass(wanted, task) == issubclass(kind, task) for task in tasks):
        return
    if issubclass(kind, HeadModule):
        raise IgclError(f"{path}: a {kind.__name__}, the config is of {wanted.__name__}")
    if not wanted.trains:
        raise IgclError(f"{path}: a pretrained {kind.__name__}; give it with --model.checkpoint {path}")
    config = "linear" if issubclass(wanted, ClassifierModule) else "segmentation"
    raise IgclError(
        f"{path}: a pretrained {kind.__name__}, not a head; train one on it: igcl fit --config probe/{config}.yaml "
        f"--model.checkpoint {path}"
    )


def refuse_wrong_groups(part: str, chosen: Namespace) -> None:
    """Raise `UsageError` for a group of options that is a single value or has a null, which the parser lets pass.

    Args:
        part: "model" or "data".
        chosen: its class path and arguments.
    """
    arguments = inspect.signature(pkgutil.resolve_name(chosen.class_path)).parameters
    for name, group in dict(vars(chosen.init_args) if "init_args" in chosen else {}).items():
        if name in arguments and is_dataclass(default := arguments[name].default):
            if not isinstance(group, (Namespace, dict)):
                raise UsageError(f"--{part}.{name}: {NOT_A_GROUP}, got {'null' if group is None else repr(group)}")
            for option, expected in nulls(type(default), group):
                raise UsageError(f"--{part}.{name}.{option}: expected {expected}, got null")


def refuse_clash(model: LightningModule, data: LightningDataModule | None) -> None:
    """Raise `UsageError` if model and data share a hyper-parameter with different values, as Lightning does later."""
    if data is None or not (model._log_hyperparams and data._log_hyperparams):
        return
    ours, theirs = model.hparams_initial, data.hparams_initial
    clashing = sorted(name for name in ours.keys() & theirs.keys() - {CLASS_PATH} if ours[name] != theirs[name])
    if clashing:
        pairs = ", ".join(f"--model.{name} {ours[name]} and --data.{name} {theirs[name]}" for name in clashing)
        raise UsageError(f"model and data share a hyper-parameter name with different values: {pairs}")


def _model_options(model: Namespace) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each option of a model; class paths are those where classes are defined."""
    yield from ((key, class_path(pkgutil.resolve_name(model.class_path))) for key in ("model", "model.class_path"))
    yield from ((f"model.{name}", value) for name, value in model.get("init_args", {}).items())


@rank_zero_only
def _warn_overridden(path: str, written: list[Written], before: dict[str, Any], after: dict[str, Any]) -> None:
    given = dict.fromkeys(option.key for option in written if option.value and option.key in before)
    changes = [f"{key} {after.get(key)} (not {before[key]})" for key in given if before[key] != after.get(key)]
    if changes:
        write_message("warning", f"the model arguments in --ckpt_path {path} apply: {', '.join(changes)}")


def _is_restoring(error: BaseException) -> bool:
    """Return whether an error was raised while Lightning restored a checkpoint."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame.name.lstrip("_") for frame in frames if Path(frame.filename).name == "checkpoint_connector.py"]
    return any(name.startswith(("restore", "resume")) for name in places)
