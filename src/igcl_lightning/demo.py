"""The whole idea in minutes, on the embedded phantom: prepare, pretrain, probe, compare, and one table."""

from __future__ import annotations

import logging
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from igcl_lightning._training import run as run_training
from igcl_lightning.callbacks.write_predictions import WritePredictions
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.phantom import FINDINGS, phantom_study
from igcl_lightning.data.prepare import Options, prepare
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.plots import plot_label_efficiency, plot_per_label
from igcl_lightning.evaluation.predictions import write_predictions
from igcl_lightning.evaluation.results import format_table, summarise, write_results
from igcl_lightning.modules.base import read_checkpoint
from igcl_lightning.modules.classifier import ClassifierModule
from igcl_lightning.modules.few_shot import FewShotProbe
from igcl_lightning.modules.fine_tune import FineTune
from igcl_lightning.modules.linear_probe import LinearProbe

IMAGE_SIZE = 64


class Scale(NamedTuple):
    """How much the demo does.

    Attributes:
        studies: phantom studies, of which seven in ten train.
        pretrain_epochs: epochs of IGCL, or None for those of the shipped config.
        supervised_epochs: most epochs of the supervised baseline, by fraction.
        fractions: labelled shares of the training rows.
        shots: positive rows per label.
        draws: draws of rows for linear and few-shot probes on IGCL's features.
        seeds: seeds of the supervised baseline and of random encoders.
    """

    studies: int
    pretrain_epochs: int | None
    supervised_epochs: dict[float, int]
    fractions: tuple[float, ...] = (0.01, 0.1, 1.0)
    shots: tuple[int, ...] = (5, 10, 20)
    draws: int = 5
    seeds: int = 3


FULL = Scale(studies=3600, pretrain_epochs=None, supervised_epochs={0.01: 100, 0.1: 40, 1.0: 20})
FAST = Scale(240, 1, {1.0: 1}, fractions=(0.1, 1.0), shots=(5,), draws=2, seeds=1)


def run_demo(out: Path, fast: bool = False) -> None:
    """Run the demo and print its table.

    Args:
        out: folder of everything it writes; an earlier demo there is replaced.
        fast: a smaller one, which shows the way and not the numbers.

    Raises:
        IgclError: the folder holds something else.
    """
    scale = FAST if fast else FULL
    start = time.monotonic()
    if out.exists() and any(out.iterdir()) and not (out / "store" / "manifest.json").is_file():
        raise IgclError(f"{out}: holds something else than an earlier demo; choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    store = out / "store"
    _say(f"1/4 {scale.studies} synthetic chest radiographs with reports -> {store}")
    _prepare(store, scale)
    _say("2/4 IGCL: contrast the images with the graphs of their reports")
    checkpoint = _pretrain(store, out, scale)
    _say("3/4 probes on frozen features, random features, supervised training from scratch")
    with _quiet():
        predictions = pd.concat(_evaluate(checkpoint, store, out, scale), ignore_index=True)
    _say("4/4 results")
    _report(predictions, store, out)
    _say(f"done in {time.monotonic() - start:.0f} s")


def _prepare(store: Path, scale: Scale) -> None:
    studies = [partial(phantom_study, index, size=IMAGE_SIZE) for index in range(scale.studies)]
    prepare(
        studies,
        store,
        labels=[*FINDINGS, "No Finding"],
        options=Options(size=IMAGE_SIZE, lossless=True, reparse=True),
        source={"name": "phantom", "count": scale.studies, "seed": 0},
        total=len(studies),
    )


def _pretrain(store: Path, out: Path, scale: Scale) -> Path:
    """Pretrain as the command line does, and return the checkpoint."""
    words = ["fit", "--config", "pretrain/phantom.yaml", "--data.store", str(store)]
    words += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(out), "--trainer.logger.name", "igcl"]
    if scale.pretrain_epochs is not None:
        words += ["--trainer.max_epochs", str(scale.pretrain_epochs), "--trainer.check_val_every_n_epoch", "1"]
    run_training(words)
    return out / "igcl" / "version_0" / "checkpoints" / "last.ckpt"


def _evaluate(checkpoint: Path, store: Path, out: Path, scale: Scale) -> Iterator[pd.DataFrame]:
    """Yield the predictions of every method, setting and seed."""
    pretrained = read_checkpoint(checkpoint)["hyper_parameters"]
    random_encoder = {name: pretrained[name] for name in ("backbone", "image_size")}
    linear = [{"fraction": fraction, "draws": scale.draws if fraction < 1 else 1} for fraction in scale.fractions]
    few = [{"shots": shots, "draws": scale.draws} for shots in scale.shots]
    for method, probe, settings in (("linear", LinearProbe, linear), ("few-shot", FewShotProbe, few)):
        for setting in settings:
            _say(f"    IGCL, {method} {_shown(setting)}")
            yield _probe(probe(str(checkpoint)), store, out, setting)
            for seed in range(scale.seeds):
                seed_everything(seed, verbose=False)
                yield _probe(probe(**random_encoder), store, out, setting | {"draws": 1, "draw_seed": seed})
    for fraction, epochs in scale.supervised_epochs.items():
        for seed in range(scale.seeds if fraction < 1 else 1):
            _say(f"    supervised, {_shown({'fraction': fraction})}, seed {seed}")
            yield _supervised(store, out, fraction, epochs, seed, random_encoder)


def _probe(module: LinearProbe, store: Path, out: Path, setting: dict[str, Any]) -> pd.DataFrame:
    return _fit_and_test(
        module, LabeledDataModule(str(store), labels=list(FINDINGS), batch_size=256, **setting), out, max_epochs=1
    )


def _supervised(
    store: Path, out: Path, fraction: float, epochs: int, seed: int, encoder: dict[str, Any]
) -> pd.DataFrame:
    """Train from scratch until the validation AUROC has stopped rising, and test the best epoch."""
    seed_everything(seed, verbose=False)
    every = max(1, epochs // 20)
    best = ModelCheckpoint(out / "supervised" / f"{fraction}-{seed}", monitor="val/auroc_mean", mode="max")
    stop = EarlyStopping("val/auroc_mean", mode="max", patience=5)
    return _fit_and_test(
        FineTune(**encoder, learning_rate=3e-3),
        LabeledDataModule(str(store), labels=list(FINDINGS), fraction=fraction, draw_seed=seed),
        out,
        callbacks=[best, stop],
        max_epochs=epochs,
        check_val_every_n_epoch=every,
    )


def _fit_and_test(
    module: ClassifierModule, data: LabeledDataModule, out: Path, callbacks: Sequence[Callback] = (), **options: Any
) -> pd.DataFrame:
    writer = WritePredictions()
    best = next((callback for callback in callbacks if isinstance(callback, ModelCheckpoint)), None)
    trainer = Trainer(
        callbacks=[writer, *callbacks],
        logger=False,
        enable_checkpointing=best is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=out / "probes" / _file_name(module, data),
        **options,
    )
    trainer.fit(module, data)
    trainer.test(module, data, ckpt_path="best" if best else None, weights_only=True, verbose=False)
    return writer.frame


def _report(predictions: pd.DataFrame, store: Path, out: Path) -> None:
    write_predictions(predictions, out / "predictions.parquet")
    versus = [("igcl", "random"), ("igcl", "supervised")]
    records = summarise(predictions, versus=versus, protocol="demo", store=store.name, split="test")
    write_results(records, out / "results.json")
    plots = out / "plots"
    plots.mkdir(exist_ok=True)
    plot_label_efficiency(records, plots / "label_efficiency.png")
    plot_per_label(records, plots / "per_label.png")
    training_plots = out / "igcl" / "version_0" / "plots"
    _say(f"\n{format_table(records)}\n")
    _say("These are results on synthetic phantoms: they show that the method works, not how well on patients.")
    _say(f"numbers      {out / 'results.json'}, {out / 'predictions.parquet'}")
    _say(f"plots        {plots}, {training_plots}")
    _say(f"checkpoint   {out / 'igcl' / 'version_0' / 'checkpoints' / 'last.ckpt'}")


def _shown(setting: dict[str, Any]) -> str:
    return f"{setting['shots']} shots" if "shots" in setting else f"{100 * setting['fraction']:g} %"


def _file_name(module: ClassifierModule, data: LabeledDataModule) -> str:
    setting = f"{data.shots}-shot" if data.shots else f"{data.fraction:g}"
    return f"{module.method_name}-{setting}-{data.draw_seed}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from announcing each of forty short runs."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield
    logger.setLevel(level)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
