"""`ReportGraph` -> `torch_geometric.data.Data`, and the hashed facts of a graph.

The text of an entity becomes hashed subwords (Bojanowski et al., TACL 2017, section 3.2): its words and their character
3- to 5-grams, each hashed to one of `NUM_BUCKETS` embedding rows. Nothing is downloaded, no word is out of vocabulary.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.graphs.identity import stated_facts
from igcl_lightning.graphs.schema import LABEL_ID, NODE_TYPE, RELATION_ID, ReportGraph, stable_hash

if TYPE_CHECKING:
    from torch_geometric.data import Data

NUM_BUCKETS = 8192
"""Rows of the subword embedding; row 0 is padding."""

MAX_SUBWORDS = 32
"""Subwords kept of one entity: all of a word of twelve letters."""

MAX_FACTS = 128
"""Facts kept of one graph. Reports of Open-i state 26 on average, 1 % more than 59, none more than 106; phantoms 62."""

NO_FACT = -1
"""What fills the rest of a graph's list of facts."""

GRAM_LENGTHS = (3, 4, 5)

_NODE_TYPE = np.array(NODE_TYPE, dtype=np.int64)

Ids = NDArray[np.int64]


class GraphFeaturizer:
    """Turn report graphs into PyG graphs.

    Args:
        max_subwords: S, the width of a node's row; of an entity with more subwords the whole words come first.
    """

    def __init__(self, max_subwords: int = MAX_SUBWORDS) -> None:
        if max_subwords < 1:
            raise ValueError(f"max_subwords must be at least 1, got {max_subwords}")
        self.max_subwords = max_subwords

    def __call__(self, graph: ReportGraph) -> Data:
        """Return the PyG graph of a report graph of N entities and E relations.

        Returns:
            `Data` with `x` int64 [N, S] (subword buckets, 0 = padding), `node_type` int64 [N] (index in
            `ENTITY_LABELS`), `edge_index` int64 [2, E] (head -> tail), `edge_type` int64 [E] (index in
            `RELATION_TYPES`) and `num_nodes` = N, which may be 0.
        """
        return self.featurize_arrays(
            [entity.tokens for entity in graph.entities],
            np.array([LABEL_ID[entity.label] for entity in graph.entities], dtype=np.int64),
            np.array([(relation.head, relation.tail) for relation in graph.relations], dtype=np.int64).reshape(-1, 2).T,
            np.array([RELATION_ID[relation.type] for relation in graph.relations], dtype=np.int64),
        )

    def featurize_arrays(self, tokens: Sequence[str], node_type: Ids, edge_index: Ids, edge_type: Ids) -> Data:
        """Return the PyG graph of columns as a store keeps them, without Python work per relation.

        Args:
            tokens: the text of each of the N entities.
            node_type: [N] id of the label (`LABEL_ID`); RadGraph-XL's labels become those of v1 (`NODE_TYPE`).
            edge_index: [2, E] head and tail.
            edge_type: [E] index in `RELATION_TYPES`.
        """
        import torch
        from torch_geometric.data import Data

        x = np.zeros((len(tokens), self.max_subwords), dtype=np.int64)
        for row, text in enumerate(tokens):
            x[row] = subword_ids(text.lower(), self.max_subwords)
        return Data(
            x=torch.from_numpy(x),
            node_type=torch.from_numpy(_NODE_TYPE[node_type]),
            edge_index=torch.tensor(edge_index, dtype=torch.int64),
            edge_type=torch.tensor(edge_type, dtype=torch.int64),
            num_nodes=len(tokens),
        )


@lru_cache(maxsize=65_536)
def subword_ids(text: str, max_subwords: int) -> Ids:
    """Return the subword buckets of an entity text, int64 [max_subwords], read-only: 1..NUM_BUCKETS-1, then zeros."""
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


def graph_facts(graph: ReportGraph) -> Ids:
    """Return the 63-bit hashes of the facts a graph states, int64 [MAX_FACTS], ascending, then `NO_FACT`.

    Of a graph that states more, the lowest hashes are kept, so that graphs drop the same facts.
    """
    facts = sorted({stable_hash(fact) for fact in stated_facts(graph)})[:MAX_FACTS]
    padded = np.full(MAX_FACTS, NO_FACT, dtype=np.int64)
    padded[: len(facts)] = facts
    return padded
