"""Rows of Arrow into ready batches, a whole batch at a time: no Python per edge, per word or per tensor of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch, Data

from igcl_lightning.data.handover import Handover, handed_over, in_one_storage
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.samples import LabeledBatch, PairBatch
from igcl_lightning.data.store import NODE_TEXT
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import MAX_FACTS, MAX_SUBWORDS, NO_FACT, subword_ids
from igcl_lightning.graphs.schema import NODE_TYPE, stable_hash
from igcl_lightning.graphs.tokens import SENTENCE_ENDS, WORD_SUBWORDS, ReportTokenizer

Ids = NDArray[np.int64]

GRAPH_FIELDS = ("text", "tokens", "label", "head", "tail", "type", "key", "facts")

_NO_GRAPHS: Any = Batch(_base_cls=Data)
_NODE_TYPE = np.array(NODE_TYPE, dtype=np.int64)


class PairCollator:
    """Turn rows of a store into a batch of pairs.

    Args:
        shapes: array columns to read, each with the shape of one row.
        node_text_channels: width of the language-model features of graph nodes; 0 leaves them out.
        tokenizer: makes tokens of a report.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        node_text_channels: int = 0,
        tokenizer: ReportTokenizer | None = None,
    ) -> None:
        self.shapes = dict(shapes or {})
        self.node_text_channels = node_text_channels
        self.tokenizer = tokenizer or ReportTokenizer()

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are read, fields of the graph as columns of their own."""
        graph = [f"graph.{field}" for field in GRAPH_FIELDS]
        return ["row", "study", "patient", *graph, *[NODE_TEXT] * bool(self.node_text_channels), *self.shapes]

    def __call__(self, rows: pa.Table, target: NDArray[np.float32]) -> PairBatch:
        """Return a batch of B pairs.

        Args:
            rows: their columns, and `image`.
            target: their labels, float32 [B, L].

        Raises:
            IgclError: an image cannot be decoded, or has another size than the first.
        """
        image = decode_images(rows)
        rows = rows.select(self.columns).combine_chunks()
        columns = {name: rows.column(name).chunk(0) for name in self.columns}
        graph, report = in_one_storage(_graph_arrays(columns), self._report_arrays(columns["graph.text"]))
        if self.node_text_channels:
            graph["text"] = handed_over(_floats(columns[NODE_TEXT]).reshape(-1, self.node_text_channels))
        hashes = [row_hashes(columns[name]) for name in ("row", "study", "patient")]
        row, study, patient, key = handed_over(np.stack([*hashes, columns["graph.key"].to_numpy()]))
        return PairBatch(
            image=image,
            graph=batch_of_graphs(graph),
            report=batch_of_graphs(report),
            target=handed_over(target),
            extra={
                name: handed_over(_floats(columns[name]).reshape(-1, *shape)) for name, shape in self.shapes.items()
            },
            row=row,
            study=study,
            patient=patient,
            graph_key=key,
            graph_facts=_facts(columns["graph.facts"]),
        )

    def _report_arrays(self, texts: pa.StringArray) -> dict[str, Ids]:
        """Return the tokens of reports as `ReportTokenizer` makes them, end to end, and where each report starts."""
        if self.tokenizer.wordpieces is not None:
            return _concatenated([self.tokenizer(text) for text in texts.to_pylist()])
        words = pc.split_pattern(texts, " ")
        # Splitting an empty text gives one empty word.
        count = np.where(pc.equal(texts, "").to_numpy(zero_copy_only=False), 0, pc.list_value_length(words).to_numpy())
        kept = np.minimum(count, self.tokenizer.max_tokens)
        start = np.asarray(words.offsets)[:-1]
        report, word = _part_and_place(kept)
        unique = words.values.take(pa.array(start[report] + word)).dictionary_encode()
        return {
            "x": _subwords(unique, WORD_SUBWORDS),
            "word": word,
            "sentence": _sentences(unique, report, kept),
            **_bounds(_starts(kept)),
        }


def collate_labelled(rows: pa.Table, target: NDArray[np.float32]) -> LabeledBatch:
    """Return a batch of B labelled images, from their columns `image` and `row` and their labels, float32 [B, L].

    Raises:
        IgclError: an image cannot be decoded, or has another size than the first.
    """
    return LabeledBatch(decode_images(rows), handed_over(target), handed_over(row_hashes(rows.column("row"))))


def decode_images(rows: pa.Table) -> Tensor:
    """Decode the column `image` of B rows to uint8 [B, 1, H, W]; `row` names them.

    Raises:
        IgclError: an image cannot be decoded, or has another size than the first.
    """
    data = [value.as_buffer() for chunk in rows.column("image").chunks for value in chunk.field("bytes")]
    first = _decode(rows, 0, data[0])
    images = Handover((len(data), 1, *first.shape), first.dtype)
    for place, image in enumerate(data):
        decoded = _decode(rows, place, image) if place else first
        if decoded.shape != first.shape:
            row, size, usual = rows.column("row")[place], decoded.shape, first.shape
            raise IgclError(f"row {row}: its stored image is {size}, others are {usual}; prepare the store again")
        images.write(decoded, place * decoded.nbytes)
    return images.tensor


def _decode(rows: pa.Table, place: int, data: pa.Buffer) -> np.ndarray:
    try:
        return decode_grey(data)
    except (OSError, ValueError, SyntaxError) as error:
        row = rows.column("row")[place]
        reason = re.sub(r" <_io.*>", "", str(error))  # an address in memory
        raise IgclError(f"row {row}: its stored image cannot be decoded ({reason}); prepare the store again") from error


def batch_of_graphs(arrays: Mapping[str, Tensor]) -> Batch:
    """Return what `Batch.from_data_list` makes of B graphs, from their tensors end to end.

    Args:
        arrays: tensors of the nodes [N, ...]; what `_bounds` tells of them; and, if there are edges, `edge_index`
            [2, E] of the whole batch, `edge_type` [E] and `edge_ptr` [B + 1], where the edges of each graph start.
    """
    ptr, edge_ptr, still = arrays["ptr"], arrays.get("edge_ptr"), arrays["still"]
    fields = {name: value for name, value in arrays.items() if name not in ("ptr", "edge_ptr", "still", "batch")}
    batch = copy(_NO_GRAPHS)
    store = batch.stores[0]
    store.update(fields)
    store._num_nodes = ptr.diff().tolist()
    store.num_nodes = int(ptr[-1])
    store.batch = arrays["batch"]
    store.ptr = ptr
    batch._num_graphs = len(still)
    batch._slice_dict = {name: edge_ptr if name.startswith("edge") else ptr for name in fields}
    batch._inc_dict = {name: ptr[:-1] if name == "edge_index" else still for name in fields}
    return batch


def with_graph_fields(rows: pa.Table) -> pa.Table:
    """Return rows with the fields of their graphs as columns of their own."""
    for field in GRAPH_FIELDS:
        rows = rows.append_column(f"graph.{field}", pc.struct_field(rows.column("graph"), field))
    return rows


def targets_of(rows: pa.Table, labels: Sequence[str]) -> NDArray[np.float32]:
    """Return the labels of B rows, float32 [B, L], nan where unknown, from their column `labels`."""
    if not labels:
        return np.zeros((len(rows), 0), np.float32)
    known = rows.column("labels")
    columns = [pc.struct_field(known, label).to_numpy() for label in labels]
    return np.stack(columns, axis=1).astype(np.float32)


def row_hashes(ids: pa.StringArray | pa.ChunkedArray) -> Ids:
    """Return the hashes of ids, int64 [B]."""
    return np.fromiter(map(stable_hash, ids.to_pylist()), np.int64, len(ids))


def _graph_arrays(columns: Mapping[str, pa.Array]) -> dict[str, Ids]:
    """Return the tensors of graphs as `GraphFeaturizer` makes them, end to end, and where each graph starts."""
    tokens, heads = columns["graph.tokens"], columns["graph.head"]
    ptr, edge_ptr = _starts(_lengths(tokens)), _starts(_lengths(heads))
    edges = np.stack([_numbers(heads), _numbers(columns["graph.tail"])])
    return {
        "x": _subwords(tokens.flatten().dictionary_encode(), MAX_SUBWORDS),
        "edge_index": edges + np.repeat(ptr[:-1], np.diff(edge_ptr)),
        "node_type": _NODE_TYPE[_numbers(columns["graph.label"])],
        "edge_type": _numbers(columns["graph.type"]),
        "edge_ptr": edge_ptr,
        **_bounds(ptr),
    }


def _subwords(texts: pa.DictionaryArray, width: int) -> Ids:
    """Return the subword buckets of N texts, [N, width]; each different one is looked up once."""
    known = [subword_ids(text.lower(), width) for text in texts.dictionary.to_pylist()]
    table = np.concatenate(known).reshape(-1, width) if known else np.zeros((0, width), np.int64)
    rows: Ids = table[texts.indices.to_numpy()]
    return rows


def _sentences(words: pa.DictionaryArray, report: Ids, count: Ids) -> Ids:
    """Return the number of each word's sentence within its report, [T]."""
    ends = np.array([word.endswith(SENTENCE_ENDS) for word in words.dictionary.to_pylist()], np.int64)
    ended = _starts(ends[words.indices.to_numpy()])  # sentences that ended before each word, and at last all
    sentences: Ids = ended[:-1] - ended[_starts(count)[:-1]][report]
    return sentences


def _part_and_place(count: Ids) -> tuple[Ids, Ids]:
    """Return for each element of B parts of these lengths the number of its part, and its place in it."""
    part = np.repeat(np.arange(len(count)), count)
    return part, np.arange(len(part)) - _starts(count)[:-1][part]


def _concatenated(reports: Sequence[Data]) -> dict[str, Ids]:
    fields = {name: torch.cat([report[name] for report in reports]).numpy() for name in ("x", "word", "sentence")}
    return {**fields, **_bounds(_starts(np.array([report.num_nodes for report in reports])))}


def _bounds(ptr: Ids) -> dict[str, Ids]:
    """Return what a batch of B graphs keeps of their bounds: where each starts, the graph of each node, and zeros."""
    return {"ptr": ptr, "batch": np.repeat(np.arange(len(ptr) - 1), np.diff(ptr)), "still": np.zeros_like(ptr[1:])}


def _facts(facts: pa.ListArray) -> Tensor:
    """Return the facts of B graphs as `graph_facts` does, int64 [B, MAX_FACTS]; a store keeps them ascending."""
    start, kept = _starts(_lengths(facts))[:-1], np.minimum(_lengths(facts), MAX_FACTS)
    graph, place = _part_and_place(kept)
    padded = np.full((len(facts), MAX_FACTS), NO_FACT, np.int64)
    padded[graph, place] = _numbers(facts)[start[graph] + place]
    return handed_over(padded)


def _starts(count: Ids) -> Ids:
    """Return where each of B parts starts, and where the last one ends, [B + 1]."""
    starts: Ids = np.concatenate([[0], np.cumsum(count, dtype=np.int64)])
    return starts


def _lengths(lists: pa.ListArray) -> Ids:
    lengths: Ids = np.diff(lists.offsets.to_numpy()).astype(np.int64)
    return lengths


def _numbers(lists: pa.ListArray) -> Ids:
    """Return the numbers of all lists end to end."""
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.int64)


def _floats(lists: pa.ListArray) -> NDArray[np.float32]:
    """Return the numbers of all lists end to end, writeable as torch wants them."""
    return np.array(lists.flatten().to_numpy(zero_copy_only=False), np.float32)
