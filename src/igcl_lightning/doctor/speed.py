"""How fast the loader gives images and the model takes them: which of the two will be the limit."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader
from tqdm import tqdm

from igcl_lightning.doctor.findings import Finding
from igcl_lightning.errors import IgclError

ENOUGH_IMAGES = 1500
ENOUGH_SECONDS = 10.0
WARM_BATCHES = 2
MODEL_STEPS = 5


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loader_rate(loader: DataLoader[Any]) -> tuple[float, Any]:
    """Return the images a second that a loader of training batches gives once warm, and one of its batches.

    Epochs follow each other until there are enough images or seconds, as they do in training.
    """
    batches = _endless(loader)
    for _ in range(WARM_BATCHES):
        batch = next(batches)
    images, begin = 0, time.perf_counter()
    with tqdm(total=ENOUGH_IMAGES, desc="loader", unit="image", leave=False) as bar:
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
    """Return the images a second that forward and backward passes take, on the trainer's device and precision.

    The first step, which allocates and chooses algorithms, counts only where it takes all of the time.
    """
    device = trainer.strategy.root_device
    module.to(device).train()
    batch = module.transfer_batch_to_device(batch, device, 0)
    seconds: list[float] = []
    with tqdm(total=MODEL_STEPS, desc=f"model on {device.type}", unit="step", leave=False) as bar:
        while len(seconds) < MODEL_STEPS and sum(seconds) < ENOUGH_SECONDS:
            seconds.append(_timed(lambda: _step(module, trainer, batch), device))
            bar.update()
    counted = seconds[1:] or seconds
    return float(len(batch.row) * len(counted) / sum(counted))


def _step(module: LightningModule, trainer: Trainer, batch: Any) -> None:
    with trainer.precision_plugin.forward_context(), _quiet():
        output: Any = module.training_step(batch, 0)
    loss = output["loss"] if isinstance(output, dict) else output
    loss.backward()
    module.zero_grad()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the note that nothing is logged without a running trainer."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*self\.log\(\)")
        yield


def _timed(work: Callable[[], None], device: torch.device) -> float:
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def loader_finding(rate: float, workers: int) -> Finding:
    """Say what the loader gives."""
    return Finding(
        "ok", "speed", f"the loader gives {_round(rate):,} images/s with {_workers(workers)}", numbers={"loader": rate}
    )


def limit_finding(loader: float, model: float, workers: int, device: str, available: int) -> Finding:
    """Say whether the loader or the model is the limit; if the loader is, how many workers would be enough.

    Args:
        loader: images a second that it gives.
        model: images a second that it takes.
        workers: processes of the loader.
        device: what the model runs on.
        available: cores of this machine.
    """
    rates = (
        f"the loader gives {_round(loader):,} images/s with {_workers(workers)}, "
        f"the model takes {_round(model):,} on {device}"
    )
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


def _workers(number: int) -> str:
    return f"{number} worker{'s' * (number != 1)}"


def _round(rate: float) -> int:
    """Return a rate to two digits: more would not come out again."""
    digits = max(0, math.floor(math.log10(max(rate, 1))) - 1)
    return int(round(rate, -digits))
