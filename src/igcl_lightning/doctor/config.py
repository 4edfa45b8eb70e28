"""A config of `igcl fit`, parsed like the training command does and built part by part; each mistake is a finding."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from igcl_lightning.doctor.findings import Finding
from igcl_lightning.errors import IgclError, UsageError, one_line
from igcl_lightning.training.lightning_cli import TrainingCLI, refuse_clash
from igcl_lightning.training.monitors import refuse_unknown_monitors


class _ParsedConfig(TrainingCLI):
    """Parses and checks like the training command, but builds and runs nothing."""

    def instantiate_classes(self) -> None:
        """Do nothing; `Config` builds part by part, so that it finds every mistake."""

    after_instantiate_classes = instantiate_classes

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing."""


class Config:
    """A config of `igcl fit`, the parts of it that can be built (None otherwise), and a finding per mistake.

    Args:
        words: arguments of `igcl fit`, such as ["--config", "pretrain/igcl.yaml", "--data.store", "stores/mimic"].
    """

    def __init__(self, words: list[str]) -> None:
        self.findings: list[Finding] = []
        self.data: LightningDataModule | None = None
        self.model: LightningModule | None = None
        self.trainer: Trainer | None = None
        self.options: Any = {}  # empty if they cannot be parsed
        with self._noting():
            cli = _ParsedConfig(["fit", *words])
            self.options = cli.config["fit"]
            self._parser = cli._subcommand_parsers["fit"]
        if self.options:
            self.data, self.model, self.trainer = (self._build(part) for part in ("data", "model", "trainer"))

    @property
    def store_path(self) -> Path | None:
        """Folder of the data module's store; None if it has no store or streams one from a URL."""
        path = self.option("data.store")
        return Path(path) if isinstance(path, str) and "://" not in path else None

    def option(self, name: str, default: Any = None) -> Any:
        """Return an option by its dotted name, such as `data.store` for a constructor argument."""
        part, _, argument = name.partition(".")
        options = self.options.get(part) or {}
        return (options.get("init_args") or options).get(argument, default)

    def connect(self) -> list[Finding]:
        """Connect data module, model and trainer as `fit` does, run their `setup`, and return new findings."""
        if self.trainer is None or self.model is None or self.data is None:
            return []
        before = len(self.findings)
        self.trainer.strategy.connect(self.model)
        self.trainer.state.fn = TrainerFn.FITTING
        self.trainer.datamodule = self.data  # type: ignore[attr-defined]  # as Lightning does
        self.data.trainer = self.model.trainer = self.trainer
        with self._noting():
            refuse_clash(self.model, self.data)
            refuse_unknown_monitors(self.trainer, self.model, self.data)
            self.data.setup("fit")
            self.model.setup("fit")
        self.model.trainer = None  # steps outside a run must not log
        return self.findings[before:]

    def _build(self, part: str) -> Any:
        built = None
        with self._noting(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            asked: Any = Namespace(**{part: self.options[part]})  # type: ignore[no-untyped-call]  # jsonargparse's
            built = self._parser.instantiate_classes(asked)[part]
            built = Trainer(**built) if part == "trainer" else built
        # Deprecation warnings are for the authors of libraries, not for the user.
        mine = [w for w in said if issubclass(w.category, UserWarning) and "eprecat" not in w.category.__name__]
        texts = dict.fromkeys(one_line(warning.message) for warning in mine)
        self.findings += [Finding("warning", part, text[:300]) for text in texts]
        return built

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Turn an error into a finding."""
        try:
            yield
        except UsageError as error:
            self.findings.append(Finding("error", "config", error.message))
        except (IgclError, MisconfigurationException, ValueError, OSError, RuntimeError, ImportError) as error:
            origin: BaseException = error
            while origin.__cause__ and str(origin).startswith("Does not validate against any of the Union"):
                origin = origin.__cause__
            self.findings.append(Finding("error", "config", one_line(origin)[:400]))
