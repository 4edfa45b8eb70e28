"""Rates of loader and model in images per second, and the slower of the two."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from igcl_lightning.doctor.findings import Finding, number
from igcl_lightning.errors import IgclError
from igcl_lightning.quiet import progress_bar

ENOUGH_IMAGES = 1500
ENOUGH_SECONDS = 10.0
"""The loader is measured for this many images or seconds, whichever comes first."""

WARM_BATCHES = 2
MODEL_STEPS = 5


def cores() -> int:
    """Return the number of CPU cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loader_rate(loader: DataLoader[Any]) -> tuple[float, Any]:
    """Return the images per second of a loader of training batches, once warm, and one of its batches."""
    batches = _endless(loader)
    for _ in range(WARM_BATCHES):
        batch = next(batches)
    images, begin = 0, time.perf_counter()
    with progress_bar(total=ENOUGH_IMAGES, desc="loader", unit="image", leave=False) as bar:
        while images < ENOUGH_IMAGES and time.perf_counter() - begin < ENOUGH_SECONDS:
            batch = next(batches)
            images += len(batch.row)
            bar.update(len(batch.row))
    return images / (time.perf_counter() - begin), batch


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        batch = None
        for batch in loader:
            yield batch
        if batch is None:
            raise IgclError("an epoch has no batch; make data.batch_size smaller")


def model_rate(module: LightningModule, trainer: Trainer, batch: Any) -> float:
    """Return the images per second of forward and backward passes, with the trainer's device and precision.

    The first step, which allocates memory and selects algorithms, is ignored if there are others.
    """
    device = trainer.strategy.root_device
    module.to(device).train()
    batch = module.transfer_batch_to_device(batch, device, 0)
    seconds: list[float] = []
    with progress_bar(total=MODEL_STEPS, desc=f"model on {device.type}", unit="step", leave=False) as bar:
        while len(seconds) < MODEL_STEPS and sum(seconds) < ENOUGH_SECONDS:
            begin = time.perf_counter()
            _step(module, trainer, batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - begin)
            bar.update()
    counted = seconds[1:] or seconds
    return float(len(batch.row) * len(counted) / sum(counted))


def _step(module: LightningModule, trainer: Trainer, batch: Any) -> None:
    with trainer.precision_plugin.forward_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*self\.log\(\)")  # nothing is logged without a running trainer
        output: Any = module.training_step(batch, 0)
    loss = output["loss"] if isinstance(output, dict) else output
    loss.backward()
    module.zero_grad()


def loader_finding(rate: float, workers: int) -> Finding:
    """Return a finding with the rate of the loader."""
    return Finding("ok", "speed", _loader_text(rate, workers), numbers={"loader": rate})


def _loader_text(rate: float, workers: int) -> str:
    return f"the loader gives {_round(rate):,} images/s with {number(workers, 'worker')}"


def limit_finding(loader: float, model: float, workers: int, device: str, available: int) -> Finding:
    """Return a finding with the slower of loader and model, in images per second, and the number of workers needed.

    `workers` is the number of worker processes of the loader, `available` the number of cores of this machine.
    """
    rates = f"{_loader_text(loader, workers)}, the model takes {_round(model):,} on {device}"
    numbers = {"loader": loader, "model": model, "workers": workers}
    if loader >= model:
        return Finding("ok", "speed", f"{rates}: the model is the limit", numbers=numbers)
    wanted = math.ceil(model / (loader / max(workers, 1)))
    numbers["enough_workers"] = min(wanted, available)
    if wanted <= available:
        remedy = f"data.num_workers {wanted} would be enough"
    elif workers < available:
        remedy = f"data.num_workers {available}, all cores here, would bring it closer"
    else:
        remedy = "this machine has no more cores for it"
    return Finding("warning", "speed", f"{rates}: the loader is the limit; {remedy}", numbers=numbers)


def _round(rate: float) -> int:
    """Return a rate with two significant digits; further digits vary between measurements."""
    digits = max(0, math.floor(math.log10(max(rate, 1))) - 1)
    return int(round(rate, -digits))
