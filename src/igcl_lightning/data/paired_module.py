"""Data module of images with their reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import DataLoader
from torch_geometric.data import Batch

from igcl_lightning.data.collation import PairCollator
from igcl_lightning.data.kept_rows import (
    STATING_SIDES,
    is_pair,
    needs,
    pair_rows,
    refuse_few_pairs,
    refuse_no_pairs,
    refuse_no_validation,
    say_left_out,
)
from igcl_lightning.data.report_noise import GraphNoise, NoiseOptions, check_noise, refuse_noise
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.samples import PairBatch
from igcl_lightning.data.sources.held_out import refuse_held_out
from igcl_lightning.data.splits import check_fraction
from igcl_lightning.data.store import Store
from igcl_lightning.data.store_module import StoreDataModule
from igcl_lightning.data.store_path import is_address
from igcl_lightning.data.streaming import PairStream, StreamedStore, StreamLoader
from igcl_lightning.data.twins import TwinDraw
from igcl_lightning.data.words import training_words
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.counterfactuals import check_kinds
from igcl_lightning.graphs.tokens import ReportTokenizer


class PairedDataModule(StoreDataModule):
    """Images with their reports, as graphs and as text, for pretraining.

    Args:
        store: path of the prepared store, or its URL, such as s3://bucket/store or hf://datasets/NAME, to stream its
            rows (see `PairStream`).
        batch_size: pairs per step and device.
        micro_batch: most pairs of a batch that are encoded at once (default: all); fewer take less memory and one more
            forward pass, and the loss is still that of the whole batch (see `modules.pieces`).
        num_workers: number of worker processes that decode images.
        augment: whether training images are augmented.
        views: projections of the images to keep, such as [PA, AP] (default: all).
        arrays: array columns of the store to include in `extra` of a batch; rows without one of them are left out.
        node_text: whether graphs carry the store's language-model features of nodes (`igcl prepare --node-text`).
        tokenizer: folder or hub name of the tokenizer of a text model (default: hashed subwords of each word).
        max_tokens: maximum number of tokens per report.
        predict_splits: splits that `predict` embeds (default: test, or all of a store without it).
        order_seed: seed of the order of training pairs (default: the seed of `seed_everything`).
        keep_empty: whether to keep rows whose graph (or report, if the model contrasts reports) states nothing. By
            default, training, validation and test leave them out (see `kept_rows`); `predict` embeds all rows.
        length_aware: whether to group graphs (or reports, if the model contrasts reports) of similar length in a
            training batch, for less padding. Negatives then also have similar lengths.
        held_out: stores whose patients must not be in training or validation, such as MIMIC-5x200; fit refuses them.
        same_words_weight: how many times as often training draws rows whose graph names each side with its counterpart,
            so that its twin with left and right exchanged has the same words. An epoch keeps its number of steps.
        fraction: share of the training patients whose pairs are trained on; smaller shares are parts of larger ones.
        noise: errors to put into training reports, to measure what they cost.

    A model with `counterfactual_kinds` (see `graphs.counterfactuals`) gets twins in training, validation and test. They
    are drawn by `order_seed`, epoch and row in training, and are always the same in evaluation.
    """

    def __init__(
        self,
        store: str,
        batch_size: int = 64,
        num_workers: int = 0,
        augment: bool = True,
        views: list[str] | None = None,
        arrays: list[str] | None = None,
        node_text: bool = False,
        tokenizer: str | None = None,
        max_tokens: int = 256,
        predict_splits: list[str] | None = None,
        order_seed: int | None = None,
        length_aware: bool = False,
        keep_empty: bool = False,
        same_words_weight: float = 1.0,
        held_out: list[str] | None = None,
        fraction: float = 1.0,
        noise: NoiseOptions = NoiseOptions(),
        micro_batch: int | None = None,
    ) -> None:
        super().__init__(store, batch_size, num_workers, augment, views, order_seed, predict_splits)
        if not 1 <= same_words_weight < math.inf:
            raise IgclError(f"data.same_words_weight is {same_words_weight}, not a number from 1 up")
        if same_words_weight > 1 and length_aware:
            raise IgclError("data.same_words_weight repeats rows, which data.length_aware would put into one batch")
        check_fraction("data.fraction", fraction)
        check_noise(noise)
        if noise.wanted and same_words_weight > 1:
            raise IgclError("data.same_words_weight counts words of reports without errors; leave it or data.noise out")
        if noise.reports and noise.every_epoch and length_aware:
            raise IgclError("data.length_aware needs one report per row; set data.noise.every_epoch or it to false")
        if micro_batch is not None and not 1 <= micro_batch <= batch_size:
            raise IgclError(f"data.micro_batch is {micro_batch}, not from 1 to data.batch_size, {batch_size}")
        self.micro_batch = micro_batch
        self.arrays = arrays or []
        self.node_text = node_text
        self.tokenizer = ReportTokenizer(tokenizer, max_tokens)
        self.length_aware = length_aware
        self.keep_empty = keep_empty
        self.same_words_weight = same_words_weight
        self.held_out = held_out or []
        self.fraction = fraction
        self.noise = noise

    @cached_property
    def store(self) -> Store | StreamedStore:
        """The opened store; a `StreamedStore` if it is at a URL."""
        return (StreamedStore if is_address(self.store_path) else Store)(self.store_path, self.views)

    def setup(self, stage: str) -> None:
        """Check that there are pairs to contrast.

        Raises:
            IgclError: no training row states anything on the sides that the model contrasts, the store lacks a
                requested column, or a patient is held out.
        """
        store, known = self.store, self.store.array_shapes
        if unknown := [name for name in self.arrays if name not in known]:
            raise IgclError(f"{store.path}: no array column {unknown[0]!r}, only {', '.join(known) or 'none'}")
        if self.node_text and not store.node_text_channels:
            raise IgclError(f"{store.path}: no language-model features; prepare it with --node-text MODEL")
        sides = self._sides_with_units()
        if stage == "fit":
            self._refuse_held_out()
            refuse_no_pairs(store, self.arrays, sides)
            self._check_training_pairs(store)
            if self.trainer is not None and self.trainer.limit_val_batches != 0:
                refuse_no_validation(store, self.arrays, self._stating())
        elif stage == "predict":
            self.check_splits_to_predict()
        say_left_out(store, stage, self.arrays, self._stating(), self.fraction)
        self._check_lengths_and_weight(sides)
        self._check_kinds(stage)

    def check_model(self, module: Any) -> None:
        """Raise `IgclError` if errors in training reports do nothing for a model, or nothing that is right.

        `setup` does so too. Without a model (None), graphs are what is read.
        """
        reads = {*getattr(module, "sides", ("graph",)), *getattr(module, "input_kinds", ())}
        twins = bool(getattr(module, "counterfactual_kinds", ()))
        refuse_noise(self.noise, reads, twins, getattr(module, "unread_of_graphs", {}))

    @property
    def num_validation_pairs(self) -> int:
        """Number of pairs that validation contrasts; of a stream, the number of its rows."""
        if "valid" not in self.store.splits:
            return 0
        if isinstance(self.store, StreamedStore):
            return self.store.num_rows("valid")
        return int(is_pair(self.store, "valid", self.arrays, self._stating()).sum())

    def training_words(self) -> dict[str, str] | None:
        """Return the words of the training reports by side that the model reads; None if they are not known."""
        store = self.store
        if not isinstance(store, Store):
            return None
        rows = None
        if self.fraction < 1 and "train" in store.splits:
            rows = tuple(pair_rows(store, ["train"], self.arrays, self._stating(), self.fraction).tolist())
        return {side: training_words(store, side, rows) for side in self._sides_with_units()}

    @property
    def training_setting(self) -> dict[str, Any]:
        """Share of the training patients and errors in their reports, as plain data; empty if there is neither."""
        setting = {"fraction": self.fraction, "noise": asdict(self.noise)}
        return setting if self.fraction < 1 or self.noise.wanted else {}

    def training_options(self) -> dict[str, Any]:
        """Return share and errors of the training pairs, by the names of users."""
        noise = {f"data.noise.{name}": value for name, value in asdict(self.noise).items()}
        return {"data.fraction": self.fraction, **noise}

    def _refuse_held_out(self) -> None:
        if not self.held_out:
            return
        if isinstance(self.store, StreamedStore):
            raise IgclError(f"{self.store.path}: data.held_out needs all patients, which a stream lacks; copy it")
        refuse_held_out(Store(self.store_path), self.held_out)  # of all views

    def _check_training_pairs(self, store: Store | StreamedStore) -> None:
        """Raise `IgclError` if the training pairs cannot have the share or the errors that are asked for."""
        self.check_model(self.trainer.lightning_module if self.trainer is not None else None)
        if isinstance(store, Store):
            refuse_few_pairs(store, self.arrays, self._stating(), self.fraction, self._processes()[0], self.batch_size)
            return
        wanted = {"fraction": self.fraction < 1, "noise.reports": self.noise.reports > 0}
        for option in (f"data.{name}" for name, is_wanted in wanted.items() if is_wanted):
            raise IgclError(f"{store.path}: {option} needs all patients, which a stream lacks; copy it")

    def _check_lengths_and_weight(self, sides: Sequence[str]) -> None:
        """Raise `IgclError` if the order of training pairs needs what a stream or the model lacks."""
        wanted = {"length_aware": self.length_aware, "same_words_weight": self.same_words_weight > 1}
        for option in (f"data.{name}" for name, is_wanted in wanted.items() if is_wanted):
            if isinstance(self.store, StreamedStore):
                raise IgclError(f"{self.store.path}: {option} needs all reports at once, which a stream lacks; copy it")
            if not sides:
                raise IgclError(f"{option}: this model reads neither graphs nor reports; leave it out")

    def _check_kinds(self, stage: str) -> None:
        """Raise `IgclError` if twins that the model asks for cannot be drawn."""
        check_kinds(self._kinds(), self._sides_with_units(), training=stage == "fit")
        if self._kinds() and self.node_text:
            raise IgclError(
                "data.node_text: a store has no language-model features of edited words; leave it out, or leave out "
                "model.counterfactual.kinds"
            )

    def train_dataloader(self) -> DataLoader[PairBatch]:
        """Return shuffled training pairs without an incomplete last batch.

        Raises:
            IgclError: a batch over all processes would be a single pair.
        """
        stating = self._stating()
        if isinstance(self.store, StreamedStore):
            self._refuse_single_pair(self.batch_size)
            return self._stream(self.store, ["train"], shuffled=True, stating=stating)
        draw = self._draw(self.order_seed)
        pairs = self._pairs(self.store, ["train"], stating, draw, **self._share())
        self._refuse_single_pair(self._whole_batch(len(pairs)))
        return self._training_loader(
            pairs,
            lengths=pairs.lengths(self._sides_with_units()[0]) if self.length_aware else None,
            weights=None if self.same_words_weight == 1 else np.where(pairs.same_words(), self.same_words_weight, 1.0),
            numbered=draw is not None or self.noise.every_epoch,
        )

    def why_predict_all(self) -> str:
        """Return why `predict` reads all rows by default, "" if it reads the test split."""
        return super().why_predict_all() or ("neither reports nor labels" if self._holds_new_images() else "")

    def _holds_new_images(self) -> bool:
        """Return whether the rows of a store on this machine have neither labels nor reports."""
        store = self.store
        if store.labels or not isinstance(store, Store):
            return False
        return not any(store.stating(split, side).any() for split in store.splits for side in STATING_SIDES)

    def evaluation_loader(self, splits: Sequence[str], stage: str) -> DataLoader[PairBatch]:
        """Return the pairs of some splits; for "predict", all rows, including those that state nothing."""
        stating = () if stage == "predict" else self._stating()
        if isinstance(self.store, StreamedStore):
            return self._stream(self.store, splits, shuffled=False, stating=stating)
        pairs = self._pairs(self.store, splits, stating, None if stage == "predict" else self._draw())
        if not len(pairs):
            keep = "; --data.keep_empty true keeps such rows" if stating else ""
            raise IgclError(f"{self.store.path}: no row of {', '.join(splits)} has {needs(self.arrays, stating)}{keep}")
        return self._shared_loader(pairs)

    def training_graphs(self) -> Iterator[Batch]:
        """Return the graphs of the training pairs, in batches without images, with the errors of epoch 0.

        Raises:
            IgclError: the store is streamed.
        """
        if not isinstance(self.store, Store):
            needs = "model.graph.rotate_channels needs all reports at once"
            raise IgclError(f"{self.store.path}: {needs}, which a stream lacks; copy it")
        return self._pairs(self.store, ["train"], self._stating(), None, **self._share()).graphs()

    def _share(self) -> dict[str, Any]:
        """Return which of the training pairs are trained on, and with what errors."""
        return {"fraction": self.fraction, "noise": self.noise, "seed": self.order_seed}

    def _stating(self) -> Sequence[str]:
        """Return the sides on which a row must state something to be a pair."""
        return () if self.keep_empty else self._sides_with_units()

    def _refuse_single_pair(self, batch_size: int) -> None:
        if batch_size * self._processes()[0] == 1:
            raise IgclError(
                f"{self.store.path}: a training batch would have one pair and no negatives; "
                f"make data.batch_size (now {self.batch_size}) or the number of training rows at least 2"
            )

    def _sides_with_units(self) -> list[str]:
        """Return the sides, "graph" or "report", that the model contrasts; the graph if there is no model."""
        module = self.trainer.lightning_module if self.trainer is not None else None
        return [side for side in getattr(module, "sides", ("graph",)) if side in STATING_SIDES]

    def _kinds(self) -> tuple[str, ...]:
        """Return the kinds of twins that the model asks for."""
        module = self.trainer.lightning_module if self.trainer is not None else None
        return tuple(getattr(module, "counterfactual_kinds", ()))

    def _draw(self, seed: int = 0) -> TwinDraw | None:
        """Return what draws twins, None if the model asks for none."""
        return TwinDraw(self._kinds(), seed) if self._kinds() else None

    def _pairs(
        self, store: Store, splits: Sequence[str], stating: Sequence[str], draw: TwinDraw | None, **share: Any
    ) -> PairDataset:
        return PairDataset(store, splits, self.tokenizer, self.arrays, self.node_text, stating, draw, **share)

    def _stream(
        self, store: StreamedStore, splits: Sequence[str], shuffled: bool, stating: Sequence[str]
    ) -> DataLoader[PairBatch]:
        """Return the loader of a stream, which builds its own batches."""
        shapes = {name: store.array_shapes[name] for name in self.arrays}
        draw = self._draw(self.order_seed if shuffled else 0)
        noise = GraphNoise(self.noise, self.order_seed) if shuffled and self.noise.in_graphs else None
        collate = PairCollator(shapes, store.node_text_channels if self.node_text else 0, self.tokenizer, draw, noise)
        order = self.order_seed, *self._processes()
        stream = PairStream(store, splits, collate, self.batch_size, shuffled, *order, stating=stating)
        if shuffled:
            self._continue(stream)
        workers = min(self.num_workers, stream.most_workers)
        options = {"batch_size": None, "num_workers": workers, "persistent_workers": workers > 0}
        return StreamLoader(stream, **self._loader_options() | options)
