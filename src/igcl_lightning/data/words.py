"""Words of the reports that a model was trained on, for the record in its checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from igcl_lightning.data.store import Store

MOST_WORDS = 50_000
"""Words that are kept, the most frequent: rarer ones are misspellings and numbers, which no model has learned."""


@lru_cache(4)
def training_words(store: Store, side: str, rows: tuple[int, ...] | None = None) -> str:
    """Return the words of the training reports in lower case and alphabetical order, joined by spaces.

    Args:
        store: the store; without a training split there are no words.
        side: what reads them: "graph", the words of entities, or "report", all words.
        rows: indices of the training rows that are trained on; all by default.
    """
    if "train" not in store.splits:
        return ""
    graphs = store.files("train").data.column("graph")
    if store.views is not None or rows is not None:
        kept = store.row_indices("train")
        graphs = graphs.take(pa.array(kept if rows is None else kept[list(rows)]))
    count: Counter[str] = Counter()
    for chunk in graphs.chunks:
        texts = pc.struct_field(chunk, "text") if side == "report" else pc.struct_field(chunk, "tokens").flatten()
        words, times = pc.value_counts(pc.split_pattern(pc.utf8_lower(texts), " ").flatten()).flatten()
        count.update(dict(zip(words.to_pylist(), times.to_pylist(), strict=True)))
    return " ".join(sorted(filter(None, dict(count.most_common(MOST_WORDS)))))


def recorded_words(record: Mapping[str, Any] | None, side: str) -> set[str]:
    """Return the training words in the record of inputs of a checkpoint; empty if they are unknown."""
    return set((((record or {}).get("words") or {}).get(side) or "").split())
