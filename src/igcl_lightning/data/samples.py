"""Batch types, with shapes for B rows. A single sample has the same fields without the leading B.

`data.collation` makes batches from Arrow rows, and Lightning moves them to the device.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch_geometric.data import Data


class Twin(NamedTuple):
    """Counterfactuals of the reports of a batch, each with one edit that makes it state something else.

    Attributes:
        graph: `torch_geometric.data.Batch` of B edited graphs.
        report: `torch_geometric.data.Batch` of the B reports, with the same words edited; a denied statement
            ("assertion") keeps its words.
        valid: whether the row has a twin, bool [B]; otherwise graph and report are its own.
        kind: kind of the edit, an index in `graphs.counterfactuals.KINDS`, int64 [B].
    """

    graph: Data
    report: Data
    valid: Tensor
    kind: Tensor


class PairBatch(NamedTuple):
    """Images, each with its report as a graph and as text, and further columns of the store.

    Attributes:
        image: grey values 0-255, [B, 1, H, W]; uint8 from the loader, float32 after augmentation.
        graph: `torch_geometric.data.Batch` of B graphs (see `graph_arrays`), empty ones included; with `node_text`
            float32 [N, D], frozen language-model features of its nodes, if `data.node_text` is set.
        report: `torch_geometric.data.Batch` of B reports (see `ReportTokenizer`), empty ones included. Its words are
            those the graph was read from.
        target: the store's labels, float32 [B, L]; 1 present, 0 absent, nan unknown.
        extra: array columns of the store by name, float32 [B, ...], those in `data.arrays`.
        row, study, patient: hashes of the ids, int64 [B] each.
        graph_key: `graphs.identity.graph_key`, int64 [B]; -1 for an empty graph, which equals no other.
        graph_facts: hashes of the graph's facts, ascending, then -1, int64 [B, MAX_FACTS] (see `stated_facts`).
        twin: counterfactuals of the graphs and reports; None if the model asks for none.
    """

    image: Tensor
    graph: Data
    report: Data
    target: Tensor
    extra: dict[str, Tensor]
    row: Tensor
    study: Tensor
    patient: Tensor
    graph_key: Tensor
    graph_facts: Tensor
    twin: Twin | None = None

    def counterfactual(self) -> PairBatch:
        """Return the batch with the counterfactual graphs and reports in place of its own; there must be some."""
        assert self.twin is not None
        return self._replace(graph=self.twin.graph, report=self.twin.report)


class LabeledBatch(NamedTuple):
    """Images with labels.

    Attributes:
        image: grey values 0-255, [B, 1, H, W].
        target: float32 [B, L]; 1 present, 0 absent, nan unknown.
        row: hash of the row's id, int64 [B].
    """

    image: Tensor
    target: Tensor
    row: Tensor


class MaskedBatch(NamedTuple):
    """Images with masks.

    Attributes:
        image: grey values 0-255, [B, 1, H, W].
        mask: bool [B, M, H, W]; empty where it is not known.
        known: whether a mask is known, bool [B, M]; an empty mask may be.
        row: hash of the row's id, int64 [B].
    """

    image: Tensor
    mask: Tensor
    known: Tensor
    row: Tensor


class FeatureBatch(NamedTuple):
    """Frozen features with labels.

    Attributes:
        feature: float32 [B, D].
        target: float32 [B, L]; 1 present, 0 absent, nan unknown.
        row: hash of the row's id, int64 [B].
    """

    feature: Tensor
    target: Tensor
    row: Tensor


class ProbeDraw(NamedTuple):
    """One draw of labelled training rows, for a probe.

    Attributes:
        train: all drawn rows.
        valid: all validation rows, on which the probe selects its penalty.
        seed: seed of the draw.
    """

    train: FeatureBatch
    valid: FeatureBatch
    seed: int
