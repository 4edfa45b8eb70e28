"""Report graphs -> `torch_geometric.data.Batch`.

The text of an entity becomes hashed subwords (Bojanowski et al., TACL 2017, section 3.2): its words and their character
3- to 5-grams, each hashed to one of `NUM_BUCKETS` embedding rows. Nothing is downloaded, and no word is out of
vocabulary.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch_geometric.data import Batch

from igcl_lightning.graphs.batching import Ids, bounds, lengths, numbers, starts, to_batch
from igcl_lightning.graphs.schema import LABEL_ID, NODE_TYPE, RELATION_ID, ReportGraph

NUM_BUCKETS = 8192  # rows of the subword embedding; row 0 is padding
MAX_SUBWORDS = 32  # subwords kept per entity: all of a word of twelve letters

GRAM_LENGTHS = (3, 4, 5)

_NODE_TYPE = np.array(NODE_TYPE, dtype=np.int64)


def featurize(graphs: Sequence[ReportGraph], node_text: NDArray[np.float32] | None = None) -> Batch:
    """Return the PyG batch of B report graphs with N entities and E relations in total.

    Args:
        graphs: the graphs; any of them may be empty.
        node_text: language-model features of all entities [N, D] (see `NodeText`); becomes the field `node_text`.

    Returns:
        `Batch` with the fields `x`, `node_type`, `edge_index` and `edge_type` (see `graph_arrays`).
    """
    texts, ids = pa.list_(pa.string()), pa.list_(pa.int32())
    columns = {
        "tokens": pa.array([[entity.tokens for entity in graph.entities] for graph in graphs], texts),
        "label": pa.array([[LABEL_ID[entity.label] for entity in graph.entities] for graph in graphs], ids),
        "head": pa.array([[relation.head for relation in graph.relations] for graph in graphs], ids),
        "tail": pa.array([[relation.tail for relation in graph.relations] for graph in graphs], ids),
        "type": pa.array([[RELATION_ID[relation.type] for relation in graph.relations] for graph in graphs], ids),
    }
    tensors = {name: torch.from_numpy(array) for name, array in graph_arrays(columns).items()}
    if node_text is not None:
        tensors["node_text"] = torch.from_numpy(node_text)
    return to_batch(tensors)


def graph_arrays(columns: Mapping[str, pa.ListArray]) -> dict[str, Ids]:
    """Return the arrays of B graphs that `to_batch` turns into a batch, without Python loops over nodes or edges.

    Args:
        columns: lists per graph, as a store keeps them: `tokens`, `label` (id in `LABEL_ID`), `head`, `tail` and `type`
            (index in `RELATION_TYPES`).

    Returns:
        `x` int64 [N, MAX_SUBWORDS] (subword buckets, 0 = padding), `edge_index` int64 [2, E] (head -> tail, in nodes of
        the batch), `node_type` int64 [N] (index in `ENTITY_LABELS`), `edge_type` int64 [E], `edge_ptr` int64 [B + 1]
        and those of `bounds`.
    """
    tokens, heads = columns["tokens"], columns["head"]
    ptr, edge_ptr = starts(lengths(tokens)), starts(lengths(heads))
    edges = np.stack([numbers(heads), numbers(columns["tail"])])
    return {
        "x": subword_rows(tokens.flatten().dictionary_encode(), MAX_SUBWORDS),
        "edge_index": edges + np.repeat(ptr[:-1], np.diff(edge_ptr)),
        "node_type": _NODE_TYPE[numbers(columns["label"])],
        "edge_type": numbers(columns["type"]),
        "edge_ptr": edge_ptr,
        **bounds(ptr),
    }


def subword_rows(texts: pa.DictionaryArray, max_subwords: int) -> Ids:
    """Return the subword buckets of N texts, whatever their case, int64 [N, max_subwords]."""
    known = [subword_ids(text.lower(), max_subwords) for text in texts.dictionary.to_pylist()]
    table = np.concatenate(known).reshape(-1, max_subwords) if known else np.zeros((0, max_subwords), np.int64)
    rows: Ids = table[texts.indices.to_numpy()]
    return rows


@lru_cache(maxsize=65_536)
def subword_ids(text: str, max_subwords: int) -> Ids:
    """Return the subword buckets of a text, int64 [max_subwords], read-only: 1..NUM_BUCKETS-1, then zeros.

    Whole words come first, so that n-grams are cut off from a text with more subwords.
    """
    words = [f"<{word}>" for word in text.split()]
    grams = [
        word[start : start + length]
        for word in words
        for length in GRAM_LENGTHS
        for start in range(len(word) - length + 1)
        if length < len(word)
    ]
    buckets = [1 + zlib.crc32(subword.encode()) % (NUM_BUCKETS - 1) for subword in [*words, *grams][:max_subwords]]
    ids = np.zeros(max_subwords, dtype=np.int64)
    ids[: len(buckets)] = buckets
    ids.flags.writeable = False
    return ids
