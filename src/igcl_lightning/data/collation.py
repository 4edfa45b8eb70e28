"""Arrow rows -> batches, without Python loops over edges, words or rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch

from igcl_lightning.data.handover import Handover, handed_over, in_one_storage
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.report_noise import GraphNoise
from igcl_lightning.data.samples import LabeledBatch, MaskedBatch, PairBatch, Twin
from igcl_lightning.data.store import NODE_TEXT
from igcl_lightning.data.twins import FIELDS, TwinDraw, edited_graphs, edited_reports
from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.graphs.batching import Ids, lengths, numbers, part_and_place, starts, to_batch
from igcl_lightning.graphs.featurizer import graph_arrays
from igcl_lightning.graphs.identity import MAX_FACTS, NO_FACT
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.graphs.tokens import ReportTokenizer

_TENSOR_FIELDS = ("tokens", "label", "head", "tail", "type")

GRAPH_FIELDS = ("text", "tokens", "label", "head", "tail", "type", "key", "facts")
TWIN_FIELDS = tuple(field for field in FIELDS if field not in GRAPH_FIELDS)
"""Further fields that twins and noise are made from."""


class PairCollator:
    """Turn rows of a store into a batch of pairs.

    Args:
        shapes: array columns to read, each with the shape of one row.
        node_text_channels: width of the language-model features of graph nodes; 0 leaves them out.
        tokenizer: tokenizer of the reports; hashed subwords by default.
        draw: draws the rows' twins; none by default.
        noise: puts errors into the graphs; none by default.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        node_text_channels: int = 0,
        tokenizer: ReportTokenizer | None = None,
        draw: TwinDraw | None = None,
        noise: GraphNoise | None = None,
    ) -> None:
        self.shapes = dict(shapes or {})
        self.node_text_channels = node_text_channels
        self.tokenizer = tokenizer or ReportTokenizer()
        self.draw = draw
        self.noise = noise

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are read, with the fields of the graph as columns of their own."""
        return ["row", "study", "patient", *self.report_columns, *self.shapes]

    @property
    def report_columns(self) -> list[str]:
        """Names of the columns that come from the report."""
        edited = self.draw is not None or self.noise is not None
        graph = [f"graph.{field}" for field in (*GRAPH_FIELDS, *TWIN_FIELDS * edited)]
        return [*graph, *[NODE_TEXT] * bool(self.node_text_channels)]

    def __call__(self, rows: pa.Table, target: NDArray[np.float32], epoch: Ids | int = 0) -> PairBatch:
        """Return a batch of B pairs (see `decode_images`).

        Args:
            rows: the columns `image` and `columns` of the rows.
            target: labels of the rows, float32 [B, L].
            epoch: epochs that twins and noise are drawn for, [B] or one for all.
        """
        image = decode_images(rows)
        rows = rows.select(self.columns).combine_chunks()
        columns = {name: rows.column(name).chunk(0) for name in self.columns}
        hashes = np.stack([row_hashes(columns[name]) for name in ("row", "study", "patient")])
        epochs = np.broadcast_to(epoch, len(rows))
        if self.noise is not None:
            graphs = {name.removeprefix("graph."): columns[name] for name in self.report_columns}
            noisy = self.noise(graphs, hashes[0], epochs)
            columns |= {name: noisy[name.removeprefix("graph.")] for name in self.report_columns}
        graph, report, twin = self._encoded(columns, hashes[0], epochs)
        row, study, patient, key = handed_over(np.stack([*hashes, columns["graph.key"].to_numpy()]))
        return PairBatch(
            image=image,
            graph=graph,
            report=report,
            target=handed_over(target),
            extra={name: handed_over(_floats(columns[name]).reshape(-1, *self.shapes[name])) for name in self.shapes},
            row=row,
            study=study,
            patient=patient,
            graph_key=key,
            graph_facts=_facts(columns["graph.facts"]),
            twin=twin,
        )

    def _encoded(self, columns: Mapping[str, pa.Array], row: Ids, epoch: Ids) -> tuple[Batch, Batch, Twin | None]:
        """Return the graphs, the reports and their twins."""
        fields = {name.removeprefix("graph."): column for name, column in columns.items() if name.startswith("graph.")}
        graph, report = graph_arrays(fields), self.tokenizer.arrays(fields["text"])
        if self.draw is None:
            own_graph, own_report = in_one_storage(graph, report)
            if self.node_text_channels:
                own_graph[NODE_TEXT] = handed_over(_floats(columns[NODE_TEXT]).reshape(-1, self.node_text_channels))
            return to_batch(own_graph), to_batch(own_report), None
        twins, kind = self.draw(fields, row, epoch)
        edited = edited_graphs(graph, twins), edited_reports(report, fields["text"], self.tokenizer, twins)
        valid = np.array([twin is not None for twin in twins], np.int64)
        *batches, drawn = in_one_storage(graph, report, *edited, {"valid": valid, "kind": kind})
        own_graph, own_report, twin_graph, twin_report = map(to_batch, batches)
        return own_graph, own_report, Twin(twin_graph, twin_report, drawn["valid"].bool(), drawn["kind"])

    @property
    def graph_columns(self) -> list[str]:
        """Names of the columns that `graphs` reads."""
        read = [f"graph.{field}" for field in _TENSOR_FIELDS]
        return read if self.noise is None else ["row", *self.report_columns]

    def graphs(self, rows: pa.Table) -> Batch:
        """Return the graphs of B rows alone, from `graph_columns`, with the noise of epoch 0."""
        rows = rows.combine_chunks()
        columns = {name: rows.column(name).chunk(0) for name in self.graph_columns}
        graphs = {name.removeprefix("graph."): column for name, column in columns.items() if name != "row"}
        if self.noise is not None:
            graphs = self.noise(graphs, row_hashes(columns["row"]), np.zeros(len(rows), np.int64))
        arrays = graph_arrays({field: graphs[field] for field in _TENSOR_FIELDS})
        return to_batch({name: torch.from_numpy(array) for name, array in arrays.items()})


def collate_labelled(rows: pa.Table, target: NDArray[np.float32]) -> LabeledBatch:
    """Return a batch of B labelled images (`decode_images`), from their column `row` and labels, float32 [B, L]."""
    return LabeledBatch(decode_images(rows), handed_over(target), handed_over(row_hashes(rows.column("row"))))


def collate_masked(rows: pa.Table, names: Sequence[str], known: NDArray[np.bool_]) -> MaskedBatch:
    """Return a batch of B images with masks, from `row`, `image` and, if there are any, `masks.label` and `masks.png`.

    Args:
        rows: the rows.
        names: names of the M masks.
        known: whether a mask is known, bool [B, M]; a known one that a row lacks is empty.

    Raises:
        IgclError: an image or a mask cannot be decoded, or a mask has another size than the images.
    """
    image = decode_images(rows)
    mask = np.zeros((len(rows), len(names), *image.shape[2:]), bool)
    place = {name: number for number, name in enumerate(names)}
    columns = [rows[name] for name in ("masks.label", "masks.png") if name in rows.column_names]
    for row, (labels, files) in enumerate(zip(*columns, strict=True)):
        for label, file in zip(labels.as_py() or (), files.values or (), strict=True):
            if label in place:
                decoded = _decode(rows, row, file.as_buffer(), f"mask {label!r}")
                if decoded.shape != mask.shape[2:]:
                    sizes = f"is {decoded.shape}, its image {mask.shape[2:]}"
                    raise IgclError(f"row {rows['row'][row]}: its mask {label!r} {sizes}; prepare the store again")
                mask[row, place[label]] = decoded > 0
    return MaskedBatch(image, handed_over(mask), handed_over(known), handed_over(row_hashes(rows.column("row"))))


def decode_images(rows: pa.Table) -> Tensor:
    """Decode the column `image` of B rows to uint8 [B, 1, H, W]; `row` names them.

    Raises:
        IgclError: an image cannot be decoded, or differs in size from the first.
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


def _decode(rows: pa.Table, place: int, data: pa.Buffer, what: str = "image") -> np.ndarray:
    try:
        return decode_grey(data)
    except (OSError, ValueError, SyntaxError) as error:
        row = rows.column("row")[place]
        raise IgclError(
            f"row {row}: its stored {what} cannot be decoded ({one_line(error)}); prepare the store again"
        ) from error


def with_graph_fields(rows: pa.Table) -> pa.Table:
    """Return rows with the fields of their graphs as additional columns."""
    for field in (*GRAPH_FIELDS, *TWIN_FIELDS):
        rows = rows.append_column(f"graph.{field}", pc.struct_field(rows.column("graph"), field))
    return rows


def row_hashes(ids: pa.StringArray | pa.ChunkedArray) -> Ids:
    """Return the hashes of ids, int64 [B]."""
    return np.fromiter(map(stable_hash, ids.to_pylist()), np.int64, len(ids))


def _facts(facts: pa.ListArray) -> Tensor:
    """Return the facts of B graphs, which a store keeps ascending, int64 [B, MAX_FACTS], the rest `NO_FACT`."""
    count = lengths(facts)
    graph, place = part_and_place(np.minimum(count, MAX_FACTS))
    padded = np.full((len(facts), MAX_FACTS), NO_FACT, np.int64)
    padded[graph, place] = numbers(facts)[starts(count)[graph] + place]
    return handed_over(padded)


def _floats(lists: pa.ListArray) -> NDArray[np.float32]:
    """Return the numbers of all lists end to end, writable as torch requires."""
    return np.array(lists.flatten().to_numpy(zero_copy_only=False), np.float32)
