"""Outputs of `test` and `predict`, gathered from all batches and processes, and the files written from them."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from igcl_lightning.atomic import replacing
from igcl_lightning.callbacks.matchings import (
    Matchings,
    has_local_branch,
    matchings_of,
    say_no_local_branch,
    unit_table,
)
from igcl_lightning.data.interfaces import RowLookup, graph_lookup, row_lookup
from igcl_lightning.data.store import Store
from igcl_lightning.evaluation.classes import format_classes, summarise_classes
from igcl_lightning.evaluation.predictions import IDS, write_predictions, write_probabilities
from igcl_lightning.evaluation.results import Record, summarise, write_results
from igcl_lightning.evaluation.tables import format_labels
from igcl_lightning.metrics.rows import first_of_each
from igcl_lightning.modules.classifier import ClassifierModule, Scores, probability
from igcl_lightning.modules.contrastive import PairEmbedding
from igcl_lightning.nn.scoring import concatenate
from igcl_lightning.run_folder import run_folder


class GatheringCallback(Callback):
    """Gathers the outputs of the batches of `test` and `predict`.

    `output_type` is a named tuple of tensors with a field `row`; outputs of other types are ignored. Tensors of
    different batches may differ in all sizes but the first; they are padded with zeros (False).
    """

    output_type: type

    def __init__(self) -> None:
        self._batches: list[Any] = []

    @abstractmethod
    def write(self, outputs: Any, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the outputs of all rows, each row once, in the order of a single process.

        Called on the first process only: it must not call collective operations. `folder` is the run folder, which may
        not exist yet; `job` is "test" or "predict".
        """

    def on_test_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Drop earlier outputs."""
        self._batches = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the outputs of a batch."""
        if isinstance(outputs, tuple) and type(outputs) is self.output_type:
            self._batches.append(self.output_type(*(value.detach().cpu() for value in outputs)))

    on_predict_epoch_start = on_test_epoch_start
    on_predict_batch_end = on_test_batch_end

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write, once for all processes."""
        self._finish(trainer, pl_module, "test")

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write, once for all processes."""
        self._finish(trainer, pl_module, "predict")

    def _finish(self, trainer: Trainer, pl_module: Any, job: str) -> None:
        folder = run_folder(trainer)
        own = [concatenate(field) for field in zip(*self._batches, strict=True)]
        parts = [self.output_type(*fields) for fields in from_all_processes(own) if fields]
        self._batches = []
        if trainer.is_global_zero and parts:
            self.write(_in_order(parts), folder, trainer, pl_module, job)


def from_all_processes(outputs: Any) -> list[Any]:
    """Return the outputs of each process, on all of them; a collective call."""
    if not (dist.is_available() and dist.is_initialized()):
        return [outputs]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, outputs)
    return parts


def _in_order(parts: list[Any]) -> Any:
    """Return the outputs of all processes in the order of a single process, without repeated rows."""
    # Samplers distribute rows to the processes in turn, and repeat rows to fill every process.
    index = torch.cat([torch.arange(len(part.row)) * len(parts) + rank for rank, part in enumerate(parts)])
    order = index.argsort()
    row = torch.cat([part.row for part in parts])[order]
    order = order[first_of_each(row).sort().values]
    return type(parts[0])(*(concatenate(field)[order] for field in zip(*parts, strict=True)))


class WriteEmbeddings(GatheringCallback):
    """After `predict`, write `embeddings.parquet` into the run folder.

    Columns: `row`, `study`, `patient`, `split`, the unit vectors of each side under its name, and `feature`, the
    encoding of the first side for probes.
    """

    output_type = PairEmbedding

    def write(self, outputs: PairEmbedding, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the file."""
        if job != "predict":
            return
        frame = id_columns(outputs.row, row_lookup(trainer, type(self).__name__))
        for name, vectors in zip((*pl_module.sides, "feature"), outputs[:3], strict=True):
            frame[name] = vectors.float().tolist()
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "embeddings.parquet") as temporary:
            frame.to_parquet(temporary)


class WriteMatchings(GatheringCallback):
    """After `predict` of a module with a local branch, write `matchings.parquet` into the run folder.

    One row per unit: `row`, `study`, `patient`, `split`, and the columns of `unit_table`. Each batch is encoded once
    more, and the attention of all rows is held in memory: 4 bytes for each row, unit of the longest report, and region.

    Raises:
        IgclError: at the start of `predict`, the data module cannot look up graphs.
    """

    output_type = Matchings

    def on_predict_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Check that there are matchings, and texts of units."""
        if has_local_branch(pl_module):
            graph_lookup(trainer, type(self).__name__)
        else:
            say_no_local_branch(type(self).__name__, pl_module)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the matchings of a batch."""
        if has_local_branch(pl_module):
            with trainer.precision_plugin.predict_step_context():
                matchings = matchings_of(pl_module, batch)
            self.on_test_batch_end(trainer, pl_module, matchings, batch, batch_idx, dataloader_idx)

    def write(self, outputs: Matchings, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the file."""
        data = graph_lookup(trainer, type(self).__name__)
        table = unit_table(outputs, [data.report_graph(row) for row in outputs.row.tolist()])
        ids = id_columns(outputs.row, data).loc[table.pop("pair")].reset_index(drop=True)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "matchings.parquet") as temporary:
            pd.concat([ids, table], axis=1).to_parquet(temporary)


class KeepPredictions(GatheringCallback):
    """After `test` or `predict`, keep the predictions in `frame`, on the first process, without writing them."""

    output_type = Scores

    def __init__(self) -> None:
        super().__init__()
        self.frame = pd.DataFrame()

    def write(self, outputs: Scores, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Keep the predictions."""
        self.frame = prediction_table(outputs, pl_module, row_lookup(trainer, type(self).__name__))


class WritePredictions(KeepPredictions):
    """After `test` or `predict`, write `predictions.parquet` (logits) and `predictions.csv` (probabilities).

    After `test`, write `results.json` too, and print its table instead of Lightning's. Accuracy and F1 are added if
    rows of the store are of one class each (`Store.classes`).
    """

    def write(self, outputs: Scores, folder: Path, trainer: Trainer, pl_module: Any, job: str) -> None:
        """Write the files."""
        super().write(outputs, folder, trainer, pl_module, job)
        write_predictions(self.frame, folder / "predictions.parquet")
        write_probabilities(probability_table(outputs, pl_module, self.frame), folder / "predictions.csv")
        if job == "test":
            about = {"protocol": pl_module.protocol, "store": pl_module.data.store_path}
            records = summarise(self.frame, **about)
            classes = _classes(pl_module)
            choices = summarise_classes(self.frame, classes, **about) if classes else []
            write_and_log_results([*records, *choices], folder, trainer)
            sys.stdout.write(f"\n{format_labels(records)}\n{_others(trainer, records)}\n")
            sys.stdout.write(f"{format_classes(choices)}\n\n" if choices else "")


def _classes(module: ClassifierModule) -> dict[str, str]:
    """Return the class of each test row; empty if the store has no two classes, or the module does not score one."""
    store = getattr(module.data, "store", None)
    classes = store.classes("test") if isinstance(store, Store) else {}
    scored = {name for name, trained in zip(module.label_names or [], module.trained, strict=True) if trained}
    if lacking := sorted(set(classes.values()) - scored):
        rank_zero_info(f"no accuracy: {', '.join(lacking)} are classes of the store, and not scored")
    return {} if lacking or len(set(classes.values())) < 2 else classes


def _others(trainer: Trainer, records: Sequence[Record]) -> str:
    """Return a line with the metrics of a test that are not in its table, such as the loss; "" without any."""
    shown = {f"test/auroc_{name}" for name in ("labels", *(record["label"] for record in records))}
    others = {name: value for name, value in trainer.callback_metrics.items() if name not in shown}
    return "".join(f"{name} {value:.3f}  " for name, value in others.items()).rstrip() + "\n" if others else ""


def write_and_log_results(records: Sequence[Record], folder: Path, trainer: Trainer) -> None:
    """Write `results.json` into the run folder, and add the file to the run of Weights & Biases, if attached."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    write_results(records, path)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.save(str(path), base_path=str(folder), policy="now")


def prediction_table(scores: Scores, module: ClassifierModule, data: RowLookup) -> pd.DataFrame:
    """Return the rows of `predictions.parquet`, each head with the seed of its draw."""
    score, target = scores.score.double().numpy(), scores.target.float().numpy()
    heads = score if score.ndim == 3 else score[:, None]
    ids = id_columns(scores.row, data)
    origin = module.origin or {}
    setting = {"method": module.method_name, "fraction": origin.get("fraction"), "shots": origin.get("shots")}
    seed = origin.get("draw_seed", 0)
    frames = [
        ids.assign(**setting, label=name, target=target[:, label], score=heads[:, head, label], seed=seed + head)
        for head in range(heads.shape[1])
        for label, name in enumerate(module.label_names or [])
        if module.trained[label]
    ]
    return pd.concat(frames, ignore_index=True)


def probability_table(scores: Scores, module: ClassifierModule, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `predictions.csv`: a column per trained label, the median over heads (see `probability`).

    `predictions` are those of the scores (see `prediction_table`).
    """
    table = predictions[IDS].head(len(scores.row))
    if table["split"].nunique() == 1:  # such as "train" of new images, which nobody trains on
        table = table.drop(columns="split")
    values = probability(scores.score.double()).numpy()
    names = [(label, name) for label, name in enumerate(module.label_names or []) if module.trained[label]]
    return table.assign(**{name: values[:, label] for label, name in names})


def id_columns(row: Tensor, data: RowLookup) -> pd.DataFrame:
    """Return the columns `row`, `study`, `patient` and `split` of hashed row ids [N]."""
    rows = row.tolist()
    ids = pd.DataFrame([data.row_ids(row) for row in rows], columns=["row", "study", "patient"])
    return ids.assign(split=[data.row_split(row) for row in rows])
