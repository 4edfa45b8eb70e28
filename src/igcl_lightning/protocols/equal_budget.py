"""Comparison of methods at the same budget on one store, for `igcl compare` and `igcl demo`."""

from __future__ import annotations

import logging
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from igcl_lightning.callbacks.outputs import KeepPredictions
from igcl_lightning.closing import is_quiet
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_source
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.label_savings import label_savings, savings_line, savings_record
from igcl_lightning.evaluation.plots import plot_label_efficiency, plot_per_label
from igcl_lightning.evaluation.predictions import Run, write_predictions
from igcl_lightning.evaluation.results import Record, format_table, summarise, write_results
from igcl_lightning.evaluation.within_patient import Choices, format_choices, summarise_choices
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.checkpoint import read_checkpoint
from igcl_lightning.modules.classifier import ClassifierModule
from igcl_lightning.modules.few_shot import FewShotProbe
from igcl_lightning.modules.fine_tune import FineTune
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.optim import OptimOptions
from igcl_lightning.protocols.hard_negatives import contrasts_reports, retrieval_choices
from igcl_lightning.training.lightning_cli import run as run_training

IMAGE_SIZE = 64
MARKER = ".comparison"
CONFIGS = {
    "igcl": "pretrain/phantom.yaml",
    "convirt": "pretrain/phantom_convirt.yaml",
    "simclr": "pretrain/phantom_simclr.yaml",
}
"""Configs of the pretraining methods on phantoms, with the same encoder and budget."""


class Scale(NamedTuple):
    """Size of a comparison.

    Attributes:
        studies: number of phantom studies, seven in ten for training.
        pretrain_epochs: epochs of pretraining; None for those of the shipped configs.
        supervised_epochs: maximum number of epochs of the supervised baseline, by fraction.
        fractions: labelled shares of the training rows; `shots` are numbers of positive rows per label.
        draws: number of draws of rows for linear and few-shot probes of an encoder.
        seeds: number of seeds of the supervised baseline and of random encoders.
        hard_negatives: number of studies in pairs whose reports use the same words for different places; 0 for none.
        splits: splits whose rows are scored.
    """

    studies: int
    pretrain_epochs: int | None
    supervised_epochs: Mapping[float, int]
    fractions: Sequence[float] = (0.01, 0.1, 1.0)
    shots: Sequence[int] = (5, 10, 20)
    draws: int = 5
    seeds: int = 3
    hard_negatives: int = 0
    supervised_learning_rate: float = 3e-3
    splits: Sequence[str] = ("test",)


class Encoder(NamedTuple):
    """An image encoder to compare, as constructor arguments of a probe, or a file of its features."""

    method: str
    options: dict[str, Any]
    features: str | None = None


@dataclass(frozen=True)
class Comparison:
    """One comparison on one prepared store.

    By default all labels of the store except "No Finding" are reported. `name` is that of the protocol in
    `results.json`. `seed` is that of pretraining: initial weights, order of the training pairs, augmentation, dropout
    (default: that of `igcl fit`). Phantoms, draws of labelled rows and baselines do not depend on it, so that
    comparisons of several seeds are paired.
    """

    out: Path
    store: Path
    scale: Scale
    labels: Sequence[str] | None = None
    name: str = "compare"
    seed: int | None = None

    def prepare_phantoms(self) -> None:
        """Write a store of phantoms with parsed reports, and the hard negatives beside it."""
        options = Options(size=IMAGE_SIZE, lossless=True, reparse=True)
        source = partial(phantom_source, size=IMAGE_SIZE, views="frontal")
        prepare(source(self.scale.studies), self.store, options=options)
        if self.scale.hard_negatives:
            hard = source(self.scale.hard_negatives, variant="hard_negatives")
            prepare(hard, self.hard_negatives, options=options)

    def outputs(self, *more: Path) -> dict[str, str]:
        """Return the closing lines on the folder and its files; `more` are further ones, relative to the folder."""
        files = map(str, ("results.json", "predictions.parquet", "plots", *more))
        return {"folder": str(self.out), "files": ", ".join(files)}

    @property
    def hard_negatives(self) -> Path:
        """Folder of the store of hard negatives."""
        return self.out / "hard_negatives"

    def pretrain(self, method: str) -> Path:
        """Pretrain as `igcl fit` does, and return the checkpoint."""
        words = ["fit", "--config", CONFIGS[method], "--data.store", str(self.store)]
        words += [] if self.seed is None else ["--seed_everything", str(self.seed)]
        words += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(self.out)]
        words += ["--trainer.logger.name", method, "--trainer.devices", "1"]
        if self.scale.pretrain_epochs is not None:
            epochs = str(self.scale.pretrain_epochs)
            words += ["--trainer.max_epochs", epochs, "--trainer.check_val_every_n_epoch", "1"]
        run_training(words, closing=False)
        return self.out / method / "version_0" / "checkpoints" / "last.ckpt"

    def probe(self, encoder: Encoder) -> Iterator[pd.DataFrame]:
        """Yield the predictions of linear and few-shot probes on an encoder, for every setting."""
        for probe, setting in self._settings():
            yield self._probe(probe(**encoder.options, name=encoder.method), features=encoder.features, **setting)

    def probe_random(self, architecture: dict[str, Any]) -> Iterator[pd.DataFrame]:
        """Yield the predictions of the same probes on encoders with random weights, one draw each."""
        for probe, setting in self._settings():
            for seed in range(self.scale.seeds):
                seed_everything(seed, verbose=False)
                yield self._probe(probe(**architecture), **setting | {"draws": 1, "draw_seed": seed})

    def _settings(self) -> Iterator[tuple[type[LinearProbe], dict[str, Any]]]:
        for fraction in self.scale.fractions:
            yield LinearProbe, {"fraction": fraction, "draws": self.scale.draws if fraction < 1 else 1}
        for shots in self.scale.shots:
            yield FewShotProbe, {"shots": shots, "draws": self.scale.draws}

    def _probe(self, module: LinearProbe, **setting: Any) -> pd.DataFrame:
        return self._fit_and_score(module, self._data(batch_size=256, **setting), max_epochs=1)

    def supervise(self, architecture: dict[str, Any]) -> Iterator[pd.DataFrame]:
        """Yield the predictions of supervised training from scratch, for every fraction and seed.

        Training ends when the validation AUROC stops rising, and the best epoch is tested.
        """
        for fraction, epochs in self.scale.supervised_epochs.items():
            for seed in range(self.scale.seeds if fraction < 1 else 1):
                seed_everything(seed, verbose=False)
                folder = self.out / "supervised" / f"{fraction:g}-{seed}"
                yield self._fit_and_score(
                    FineTune(**architecture, optim=OptimOptions(self.scale.supervised_learning_rate)),
                    self._data(fraction=fraction, draw_seed=seed),
                    ModelCheckpoint(folder, monitor="val/auroc_mean", mode="max"),
                    EarlyStopping("val/auroc_mean", mode="max", patience=5),
                    gradient_clip_val=1.0,
                    max_epochs=epochs,
                    check_val_every_n_epoch=max(1, epochs // 20),
                )

    def _data(self, **options: Any) -> LabeledDataModule:
        labels = self.labels or [label for label in Store(self.store).labels if label != "No Finding"]
        return LabeledDataModule(str(self.store), labels=list(labels), predict_splits=[*self.scale.splits], **options)

    def _fit_and_score(
        self, module: ClassifierModule, data: LabeledDataModule, *callbacks: Callback, **options: Any
    ) -> pd.DataFrame:
        kept = KeepPredictions()
        trainer = Trainer(
            callbacks=[kept, *callbacks],
            logger=False,
            enable_checkpointing=bool(callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            devices=1,
            default_root_dir=self.out,
            **options,
        )
        trainer.fit(module, data)
        best = "best" if callbacks else None
        trainer.predict(module, data, return_predictions=False, ckpt_path=best, weights_only=True)
        return kept.frame

    def choose(self, checkpoint: Path) -> Choices | None:
        """Return the choices of a pretrained model between the two reports of each patient of the hard negatives.

        The score is that of retrieval. A model that reads no reports has no choices (None).
        """
        module = BaseModule.load_from_checkpoint(checkpoint, map_location="cpu")
        return retrieval_choices(module, self.hard_negatives) if contrasts_reports(module) else None


def clear(out: Path) -> None:
    """Remove an earlier comparison, or raise an `IgclError` if the folder contains something else."""
    if out.exists() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise IgclError(f"{out}: not empty and not an earlier comparison; choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARKER).touch()


def encoder_of(checkpoint: Path, name: str | None = None) -> Encoder:
    """Return the image encoder of a pretraining checkpoint, named after its class by default."""
    class_path = str(read_checkpoint(checkpoint).get("hyper_parameters", {}).get("_class_path", ""))
    if not class_path:
        raise IgclError(f"{checkpoint}: does not name its class; was it written by igcl?")
    return Encoder(name or class_path.rpartition(".")[2].lower(), {"checkpoint": str(checkpoint)})


def run_comparison(
    comparison: Comparison,
    *,
    trained: Sequence[str] = (),
    encoders: Sequence[Encoder] = (),
    supervised: bool = True,
) -> None:
    """Pretrain the methods of `CONFIGS` in `trained`, probe, compare, write the results and print the table.

    All methods are compared with the first encoder. Random weights and training from scratch (unless `supervised` is
    false) use the architecture of the first encoder that has one.
    """
    start = time.monotonic()
    checkpoints = {method: _timed(f"pretrain {method}", comparison.pretrain, method) for method in trained}
    contestants = [*(encoder_of(path, method) for method, path in checkpoints.items()), *encoders]
    architecture = _architecture(contestants)
    frames: list[pd.DataFrame] = []
    with quiet():
        for encoder in contestants:
            frames += _timed(f"probes on {encoder.method}", list, comparison.probe(encoder))
        if architecture:
            frames += _timed("probes on random weights", list, comparison.probe_random(architecture))
            if supervised:
                frames += _timed("supervised from scratch", list, comparison.supervise(architecture))
        asked = checkpoints if comparison.scale.hard_negatives else {}
        chosen = {method: comparison.choose(path) for method, path in asked.items()}
    say_progress("results")
    _report(comparison, pd.concat(frames, ignore_index=True), {name: each for name, each in chosen.items() if each})
    say_progress(f"done in {time.monotonic() - start:.0f} s")


def _architecture(encoders: Sequence[Encoder]) -> dict[str, Any]:
    """Return the backbone of the first encoder with a checkpoint that names one, as arguments of a head."""
    for encoder in encoders:
        if "checkpoint" in encoder.options:
            stored = read_checkpoint(encoder.options["checkpoint"])["hyper_parameters"]
            image = stored.get("image", {})
            if {"backbone", "size"} <= set(image):
                return {"image": {name: image[name] for name in ("backbone", "size")}}
    return {}


def _report(comparison: Comparison, predictions: pd.DataFrame, choices: Mapping[str, Choices]) -> None:
    out = comparison.out
    first, *others = predictions["method"].unique()
    versus = [(first, other) for other in others]
    about: dict[str, Any] = {"protocol": comparison.name, "store": comparison.store.name}
    write_predictions(predictions, out / "predictions.parquet")
    records = summarise(predictions, versus=versus, **about)
    say(f"\n{format_table(records)}\n")
    write_results(records, out / "results.json")
    records += _report_savings(comparison, predictions, versus, about)
    if choices:
        first, *others = choices
        about = {"protocol": comparison.name, "store": comparison.hard_negatives.name, "split": "test"}
        runs = {Run(method, None, None, None): each for method, each in choices.items()}
        chosen = summarise_choices(runs, versus=[(first, other) for other in others], **about)
        records += chosen
        say(f"{format_choices(chosen)}\n")
    write_results(records, out / "results.json")
    plots = out / "plots"
    plots.mkdir(exist_ok=True)
    plot_label_efficiency(records, plots / "label_efficiency.png")
    plot_per_label(records, plots / "per_label.png")


def _report_savings(
    comparison: Comparison, predictions: pd.DataFrame, versus: Sequence[tuple[str, str]], about: Mapping[str, Any]
) -> list[Record]:
    say("labels saved: what the other method needs to do as well [95 % interval over patients]")
    try:
        saved = [label_savings(predictions, *pair, fraction=comparison.scale.fractions[0]) for pair in versus]
    except IgclError as error:  # such as a test split in which every label has one class; the rest is still shown
        say(f"not computed: {error}\n")
        return []
    say("\n".join([*map(savings_line, saved), ""]))
    return [savings_record(each, **about) for each in saved]


def _timed(what: str, work: Callable[..., Any], *arguments: Any) -> Any:
    say_progress(f"{what} ...")
    start = time.monotonic()
    result = work(*arguments)
    say_progress(f"{what}: {time.monotonic() - start:.0f} s")
    return result


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's messages at the start of each run."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("lightning.pytorch", "lightning.fabric"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def say_progress(line: str) -> None:
    """Print a line that is no result: nothing with --quiet."""
    if not is_quiet():
        say(line)


def say(line: str) -> None:
    """Print a line without buffering."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
