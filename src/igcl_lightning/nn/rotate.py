"""RotatE embeddings of entities (Sun et al., ICLR 2019), fitted to the relations of training reports, then frozen.

An entity is its words, and its label where that is read. A key stands for it, computed from its subword buckets and the
same in every process and on every device, so that no vocabulary is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import RotatE

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import MAX_SUBWORDS
from igcl_lightning.graphs.schema import RELATION_TYPES, stable_hash

MOST_ENTITIES = 32_768
"""Entities that are embedded, those of most relations: rarer ones are misspellings and numbers."""

MARGIN = 9.0
LEARNING_RATE = 0.01
BATCH_SIZE = 512  # triples per step
STEPS = (1000, 20_000)  # fewest and most
PASSES = 20  # over all triples, within these bounds

_KEY_BITS = 44  # the sum over 32 buckets below 2 ** 13 and a label stays below 2 ** 63
_FACTORS = [stable_hash(f"factor {place}") >> (63 - _KEY_BITS) for place in range(MAX_SUBWORDS + 1)]
_NO_KEY = 2**63 - 1  # above all keys


class Triples(NamedTuple):
    """Different relations between E entities.

    Attributes:
        key: key of each entity, ascending, int64 [E].
        head: index of the head in `key`, int64 [T].
        type: relation type, int64 [T].
        tail: index of the tail in `key`, int64 [T].
    """

    key: Tensor
    head: Tensor
    type: Tensor
    tail: Tensor


class RotatedText(nn.Module):
    """Look up the RotatE embedding of an entity, [channels]: real parts, then imaginary parts.

    Entities that are in no relation of the training reports are zero, as are nodes added by a join, and all before
    `store`. The embeddings have a root mean square of one. They are buffers: saved in checkpoints, never trained.

    Args:
        channels: width of the embedding, an even number.
        labels: whether entities of the same words but other labels are different.
        types: whether relations of different types are different.
    """

    key: Tensor
    vector: Tensor
    factor: Tensor

    def __init__(self, channels: int, labels: bool = True, types: bool = True) -> None:
        super().__init__()
        self.out_channels = channels
        self.labels = labels
        self.types = types
        self.register_buffer("key", torch.full((MOST_ENTITIES,), _NO_KEY))
        self.register_buffer("vector", torch.zeros(MOST_ENTITIES, channels))
        self.register_buffer("factor", torch.tensor(_FACTORS), persistent=False)

    @property
    def fitted(self) -> bool:
        """Whether there are embeddings."""
        return bool(self.key[0] != _NO_KEY)

    def forward(self, graph: Data) -> Tensor:
        """Map entities with subword buckets `graph.x` [N, S] and `graph.node_type` [N] to [N, channels]."""
        key = self.keys(graph)
        place = torch.searchsorted(self.key, key).clamp(max=len(self.key) - 1)
        known = (self.key[place] == key) & (graph.x[:, 0] != 0)
        embedded: Tensor = self.vector[place] * known[:, None]
        return embedded

    def keys(self, graph: Data) -> Tensor:
        """Return the keys of N entities, int64 [N]; different ones are equal with a probability of 2 ** -44."""
        # Sums of products of integers without overflow are the same on every device.
        factor = self.factor.to(graph.x.device)
        key: Tensor = (graph.x * factor[:-1]).sum(dim=1)
        return key + graph.node_type * factor[-1] if self.labels else key

    def triples(self, graphs: Iterable[Data]) -> Triples:
        """Return the different relations of batches of graphs, between the `MOST_ENTITIES` with most relations.

        Raises:
            IgclError: there is no relation.
        """
        columns = [self._relations(graph) for graph in graphs]
        head, kind, tail = torch.cat(columns, dim=1) if columns else torch.zeros(3, 0, dtype=torch.int64)
        if not len(head):
            raise IgclError("model.graph.rotate_channels: no training report has a relation between two entities")
        key, ends, count = torch.cat([head, tail]).unique(return_inverse=True, return_counts=True)
        kept = torch.zeros(len(key), dtype=torch.bool)
        kept[count.argsort(descending=True, stable=True)[:MOST_ENTITIES]] = True
        head, tail = ends.view(2, -1)
        both = kept[head] & kept[tail]
        code = (head[both] * len(RELATION_TYPES) + kind[both]) * len(key) + tail[both]
        head, kind, tail = _digits(code.unique(), len(RELATION_TYPES), len(key))
        ends = torch.cat([head, tail]).unique(return_inverse=True)
        return Triples(key[ends[0]], ends[1][: len(head)], kind, ends[1][len(head) :])

    def store(self, key: Tensor, vector: Tensor) -> None:
        """Keep the embeddings [E, channels] of at most `MOST_ENTITIES` entities with ascending keys [E]."""
        self.key.fill_(_NO_KEY)[: len(key)] = key.to(self.key.device)
        self.vector.zero_()[: len(key)] = vector.to(self.vector)

    def _relations(self, graph: Data) -> Tensor:
        """Return the keys of heads, the types, and the keys of tails of a batch of graphs, int64 [3, E]."""
        head, tail = self.keys(graph)[graph.edge_index]
        return torch.stack([head, graph.edge_type * self.types, tail])


def fit_rotate(triples: Triples, channels: int, seed: int = 0) -> RotatE:
    """Return RotatE fitted to triples by its loss, with one random corruption of each, on the CPU.

    The global random state is left as it was: the result depends on the arguments only.

    Args:
        triples: the triples; each is drawn equally often.
        channels: real and imaginary parts of an embedding together.
        seed: seed of initial values, draws and corruptions.
    """
    each = torch.stack(triples[1:])
    fewest, most = STEPS
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(seed)  # that of a GPU is not drawn from
        model = RotatE(len(triples.key), len(RELATION_TYPES), channels // 2, margin=MARGIN, sparse=True)
        optimizer = torch.optim.SparseAdam(model.parameters(), lr=LEARNING_RATE)
        for _ in range(min(max(fewest, PASSES * each.shape[1] // BATCH_SIZE), most)):
            drawn = each[:, torch.randint(each.shape[1], (BATCH_SIZE,))]
            optimizer.zero_grad()
            model.loss(*drawn).backward()
            optimizer.step()
    return model


def embeddings(model: RotatE) -> Tensor:
    """Return embeddings of E entities with a root mean square of one: real, then imaginary parts, [E, channels]."""
    vector = torch.cat([model.node_emb.weight, model.node_emb_im.weight], dim=1).detach()
    return vector / vector.square().mean().sqrt()


def check_rotate_channels(channels: int, node_text_channels: int) -> None:
    """Raise `IgclError` if `model.graph.rotate_channels` is no width, or stored texts of entities are read, too."""
    if channels < 0 or channels % 2:
        raise IgclError(f"model.graph.rotate_channels is {channels}, not an even number from 0 up")
    if channels and node_text_channels:
        raise IgclError(
            "model.graph.rotate_channels and model.graph.node_text_channels both stand for the text of an entity: set "
            "one of them to 0"
        )


def _digits(code: Tensor, middle: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three numbers of codes (first * `middle` + second) * `last` + third."""
    front = code // last
    return front // middle, front % middle, code % last
