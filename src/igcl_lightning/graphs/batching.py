"""Batches of graphs and reports: columns as flat arrays, and `torch_geometric.data.Batch` from these."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch, Data

Ids = NDArray[np.int64]

_NO_GRAPHS: Any = Batch(_base_cls=Data)


def to_batch(tensors: Mapping[str, Tensor]) -> Batch:
    """Return the same batch as `Batch.from_data_list` for B graphs.

    Args:
        tensors: fields of all nodes [N, ...]; the tensors of `bounds`; and, for graphs with edges, `edge_index` [2, E]
            of the whole batch, `edge_type` [E] and `edge_ptr` [B + 1], the first edge of each graph.
    """
    ptr, edge_ptr, zeros = tensors["ptr"], tensors.get("edge_ptr"), tensors["zeros"]
    fields = {name: value for name, value in tensors.items() if name not in ("ptr", "edge_ptr", "zeros", "batch")}
    batch = copy(_NO_GRAPHS)
    store = batch.stores[0]
    store.update(fields)
    store._num_nodes = ptr.diff().tolist()
    store.num_nodes = int(ptr[-1])
    store.batch = tensors["batch"]
    store.ptr = ptr
    batch._num_graphs = len(zeros)
    batch._slice_dict = {name: edge_ptr if name.startswith("edge") else ptr for name in fields}
    batch._inc_dict = {name: ptr[:-1] if name == "edge_index" else zeros for name in fields}
    return batch


def graphs_between(batch: Batch, start: int, end: int) -> Batch:
    """Return the graphs `start` to `end` - 1 of a batch as a batch of their own, with views of its tensors if possible.

    What tells where a graph begins is on the host, so that a batch on a GPU is cut without waiting for it; but a batch
    that was put together from tensors alone has only its `ptr`, and fields of nodes.
    """
    store = batch.stores[0]
    if "_slice_dict" in store.__dict__:
        slices, increments = batch._slice_dict, batch._inc_dict
        nodes = starts(np.asarray(store._num_nodes, dtype=np.int64))
    else:
        nodes = store.ptr.cpu().numpy()
        slices = {
            name: torch.from_numpy(nodes) for name in list(store.keys()) if name not in ("batch", "ptr", "num_nodes")
        }
        increments = {name: torch.zeros(len(nodes) - 1, dtype=torch.int64) for name in slices}
    first, last = int(nodes[start]), int(nodes[end])
    part = copy(_NO_GRAPHS)
    kept = part.stores[0]
    for name, slice_ in slices.items():
        low, high = int(slice_[start]), int(slice_[end])
        value = store[name].narrow(int(name == "edge_index"), low, high - low)
        kept[name] = value - first if name == "edge_index" else value
    kept._num_nodes = np.diff(nodes[start : end + 1]).tolist()
    kept.num_nodes = last - first
    kept.batch = store.batch[first:last] - start
    kept.ptr = store.ptr[start : end + 1] - first
    part._num_graphs = end - start
    part._slice_dict = {name: value[start : end + 1] - int(value[start]) for name, value in slices.items()}
    shifts = {"edge_index": first}
    part._inc_dict = {name: value[start:end] - shifts.get(name, 0) for name, value in increments.items()}
    return part


def bounds(ptr: Ids) -> dict[str, Ids]:
    """Return the bounds of B graphs as `to_batch` needs them.

    Args:
        ptr: first node of each graph, then the number of nodes, [B + 1].
    """
    return {"ptr": ptr, "batch": np.repeat(np.arange(len(ptr) - 1), np.diff(ptr)), "zeros": np.zeros_like(ptr[1:])}


def starts(count: Ids) -> Ids:
    """Return the start of each of B parts of these lengths [B], and the end of the last, [B + 1]."""
    return np.concatenate([[0], np.cumsum(count, dtype=np.int64)])


def part_and_place(count: Ids) -> tuple[Ids, Ids]:
    """Return the part of each element and its position in the part, both [N], for parts of lengths [B]."""
    part = np.repeat(np.arange(len(count)), count)
    return part, np.arange(len(part)) - starts(count)[:-1][part]


def lengths(lists: pa.ListArray) -> Ids:
    """Return the length of each list, [B]."""
    count: Ids = np.diff(lists.offsets.to_numpy()).astype(np.int64)
    return count


def numbers(lists: pa.ListArray) -> Ids:
    """Return the numbers of all lists end to end."""
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.int64)
