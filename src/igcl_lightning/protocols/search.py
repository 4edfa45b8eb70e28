"""The images of a store that are nearest to a text, for `igcl search`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from igcl_lightning.data.features import frozen_features
from igcl_lightning.data.row_datasets import LabeledDataset, WholeBatches, ready
from igcl_lightning.data.store import Store
from igcl_lightning.data.words import recorded_words
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.identity import graph_key
from igcl_lightning.graphs.prompts import prompt_words
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.modules.pretrained import PretrainedEncoder
from igcl_lightning.nn.scoring import cosine_similarity
from igcl_lightning.protocols.retrieval import SHORTLIST, needs_shortlist, trains_cosine

BATCH = 64
READ = ("graph", "report")
"""Sides that read a text: its graph, or its words."""

OPPOSITE = {"OBS-DP": "OBS-DA", "OBS-U": "OBS-DA", "OBS-DA": "OBS-DP"}
"""Labels of observations that are present, uncertain or absent, and those that deny them."""


class Hit(NamedTuple):
    """An image that was found: the hash of its row's id, its score, and its grey pixels, uint8 [H, W]."""

    row: int
    score: float
    pixels: NDArray[np.uint8]


class Query(NamedTuple):
    """A text as a model reads it.

    Attributes:
        side: side of the model that reads it, "graph" or "report".
        text: the text.
        graph: its graph.
        denial: what denies it, a graph with its text; None if the model reads words and no "no" denies them all.
    """

    side: str
    text: str
    graph: ReportGraph
    denial: ReportGraph | None


def searcher(checkpoint: str | Path) -> ContrastiveModule:
    """Return the model of a checkpoint; `IgclError` if it does not read both images and reports."""
    module = BaseModule.load_from_checkpoint(checkpoint)
    sides = getattr(module, "sides", ())
    if not isinstance(module, ContrastiveModule) or "image" not in sides or not set(READ) & {*sides}:
        raise IgclError(
            f"{checkpoint}: {type(module).__name__} has no side for images and one for reports or graphs; give a model "
            "pretrained on both, such as with pretrain/igcl.yaml"
        )
    return module


def read_query(module: ContrastiveModule, text: str) -> Query:
    """Return a text as a model reads it; `IgclError` if it finds nothing in it, or its preprocessing is unknown."""
    side, reader = next(side for side in READ if side in module.sides), module.input_reader()
    graph = reader.parsed(text)
    if side == "graph" and graph_key(graph) is None:
        raise IgclError(
            f"{text!r}: nothing recognised, the parser finds no observation in it and the model reads graphs; name a "
            "finding, such as 'small left pleural effusion'"
        )
    if not any(letter.isalnum() for letter in graph.text):
        raise IgclError(f"{text!r}: has no words to search for")
    opposite = _opposite(graph)
    denial: ReportGraph | None = opposite
    if side == "report":
        words = graph.text
        said = reader.parsed(words[3:] if words.lower().startswith("no ") else f"no {words}")
        denial = said if _observations(said) == _observations(opposite) else None
    return Query(side, text, graph, denial if _observations(graph) else None)


def _opposite(graph: ReportGraph) -> ReportGraph:
    """Return the graph that denies what a graph states, perhaps too, and states what it denies."""
    entities = (replace(each, label=OPPOSITE.get(each.label, each.label), hedge="") for each in graph.entities)
    return replace(graph, entities=tuple(entities))


def _observations(graph: ReportGraph) -> list[tuple[str, str]]:
    """Return the names and labels of the observations of a graph."""
    return [(each.name, each.label) for each in graph.entities if each.label in OPPOSITE]


def unseen_words(module: ContrastiveModule, query: Query) -> list[str]:
    """Return the words of a query that no training report had; none if the checkpoint does not record those."""
    known = recorded_words(module.input_record, query.side)
    words = (word for word in prompt_words(query.graph, query.side) if any(map(str.isalnum, word)))
    return sorted(set(words) - known) if known else []


def nearest_images(
    module: ContrastiveModule,
    store: Store,
    query: Query,
    splits: Sequence[str] = (),
    top: int = 12,
    cache: Path | None = None,
) -> list[Hit]:
    """Return the images that fit a query better than its denial, by the model's retrieval score, best first.

    The score is the difference of both, so that what an image has in common with any short text cancels. Without a
    denial it is the score of the query alone. Embeddings are computed once and cached. A local score orders the 1,000
    nearest by the cosine of the embeddings, or all if the model does not train that cosine.

    Args:
        module: model from `searcher`.
        store: opened store.
        query: the text, from `read_query`.
        splits: splits that are searched (default: all).
        top: number of images.
        cache: folder of cached embeddings (default: inside the store).

    Raises:
        IgclError: an unknown split.
    """
    splits = list(splits or store.splits)
    images = LabeledDataset(store, splits, [])
    second = _matched(module, query)
    embedding = getattr(second, "embedding", second)
    cosine = _contrast(cosine_similarity(_embeddings(module, store, splits, cache).to(embedding.device), embedding))
    order = cosine.argsort(descending=True, stable=True)
    score = cosine
    if needs_shortlist(module):
        order = order[:SHORTLIST] if trains_cosine(module) else order
        score = cosine.new_full(cosine.shape, -torch.inf)
        score[order] = _scores(module, images, order.tolist(), second)
        order = order[score[order].argsort(descending=True, stable=True)]
    found = order[:top].tolist()
    pixels = images.batch(found).image[:, 0].numpy()
    return [Hit(int(images.row[at]), float(score[at]), grey) for at, grey in zip(found, pixels, strict=True)]


def _embeddings(module: ContrastiveModule, store: Store, splits: Sequence[str], cache: Path | None) -> Tensor:
    """Return the unit vectors of all images of some splits, float32 [N, D], on the CPU."""
    sides: Any = module
    encoder = PretrainedEncoder(sides.image_encoder, sides.image_projection, frozen=True)
    features = []
    for split in splits:  # one by one, as probes cache them
        rows: Any = WholeBatches(LabeledDataset(store, split, []))
        loader: DataLoader[Any] = DataLoader(rows, batch_size=BATCH, collate_fn=ready)
        content = f"{store.fingerprint} {split}"
        features.append(frozen_features(encoder, loader, cache or store.path / "features", content, module.device))
    return F.normalize(torch.cat(features), dim=1)


def _matched(module: ContrastiveModule, query: Query) -> Any:
    """Return the text as the scorers of the model read it, and its denial if it has one: one or two second sides."""
    said = [query.graph, *filter(None, [query.denial])]
    (inputs,) = module.input_reader().batches(module.embedded_kind(query.side), said, len(said))
    with module.evaluating():
        encoded = module.encode(query.side, move_data_to_device(inputs, module.device))
        return module.matched(query.side, encoded, module.project(query.side, encoded))


def _scores(module: ContrastiveModule, images: LabeledDataset, rows: Sequence[int], second: Any) -> Tensor:
    """Return the scores of some images with a text and its denial, [N]."""
    parts = []
    with module.evaluating():
        for start in range(0, len(rows), BATCH):
            encoded = module.encode("image", images.batch(rows[start : start + BATCH]).image.to(module.device))
            first = module.matched("image", encoded, module.project("image", encoded))
            parts.append(_contrast(module.score(first, second).float()))
    return torch.cat(parts)


def _contrast(score: Tensor) -> Tensor:
    """Return the scores [N] with a text, less those with its denial: from [N, 1], or [N, 2] if it has one."""
    return score[:, 0] - score[:, 1:].sum(dim=1)
