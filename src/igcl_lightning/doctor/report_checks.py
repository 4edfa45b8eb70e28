"""Checks of reports and their graphs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from igcl_lightning.data.store import states
from igcl_lightning.data.study import REPORT_SECTIONS
from igcl_lightning.doctor.findings import Finding, number, percent, share, such_as
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.reports.files import LFS_POINTER

NO_TEXT = ("nan", "none", "null", "n/a", "na")
"""What tables and programs write where there is no report; compared in lower case."""

LARGE_GROUP = 0.2

MANY_EMPTY = 0.05
"""Share of the training rows without a statement from which on their number is a warning; of Open-i it is 0.008."""


def report_table(store: OpenedStore) -> pd.DataFrame:
    """Return of all rows, in the order of `ids`: the hash of the text, and whether it is blank, a pointer, or "nan".

    Texts are hashed chunk by chunk, so that a store's reports are never in memory at once.
    """
    parts = [_read(chunk) for split in store.tables for chunk in store.column(split, "report").chunks]
    columns = ["text", "blank", "pointer", "nan"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _read(chunk: pa.StructArray) -> pd.DataFrame:
    names = [chunk.type.field(index).name for index in range(chunk.type.num_fields)]
    sections = [pc.fill_null(pc.struct_field(chunk, name), "") for name in REPORT_SECTIONS if name in names]
    joined = pc.binary_join_element_wise(*sections, "\n")
    text = pc.utf8_trim_whitespace(joined)
    return pd.DataFrame(
        {
            "text": np.fromiter((hash(words) for words in text.to_pylist()), np.int64, len(text)),
            "blank": pc.equal(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False),
            "pointer": pc.starts_with(text, LFS_POINTER.decode()).to_numpy(zero_copy_only=False),
            "nan": pc.is_in(pc.utf8_lower(text), pa.array(NO_TEXT)).to_numpy(zero_copy_only=False),
        }
    )


def check_reports(store: OpenedStore) -> Iterator[Finding]:
    """Look for reports that are pointers, empty, or stand in several studies."""
    table = report_table(store)
    pointers = table["pointer"].to_numpy(dtype=bool).nonzero()[0]
    if len(pointers):
        places = store.places(pointers)
        named = f"{number(len(pointers), 'report')} replaced by a Git-LFS pointer{such_as(row for _, _, row in places)}"
        message = f"{named}; run git lfs pull and prepare again"
        yield Finding("error", "reports", message, places, {"pointers": len(pointers)})
    nans = table["nan"].to_numpy(dtype=bool).nonzero()[0]
    if len(nans):
        message = f'{number(len(nans), "report")} that read "nan" or the like; empty those cells and prepare again'
        yield Finding("error", "reports", message, store.places(nans), {"nan": len(nans)})
    yield from _check_empty(store, table)
    yield from _check_identical(store, table)


def _check_empty(store: OpenedStore, table: pd.DataFrame) -> Iterator[Finding]:
    by_split = table["blank"].astype(bool).groupby(store.ids["split"], sort=False)
    counts = {str(split): (int(blank.sum()), len(blank)) for split, blank in by_split}
    numbers = {split: empty for split, (empty, _) in counts.items()}
    text = ", ".join(f"{split} {share(empty, rows)}" for split, (empty, rows) in counts.items())
    yield Finding("ok", "reports", f"empty: {text}", numbers=numbers)


def _check_identical(store: OpenedStore, table: pd.DataFrame) -> Iterator[Finding]:
    written = pd.DataFrame({"study": store.ids["study"], "text": table["text"]})[~table["blank"].astype(bool)]
    studies = written.drop_duplicates()
    if not len(studies):
        return
    repeated = int(studies["text"].duplicated(keep=False).sum())
    message = f"{share(repeated, len(studies))} studies share their whole text with another study"
    if repeated:
        message += ": each is a false negative of the other unless loss targets say otherwise"
    yield Finding("ok", "reports", message, numbers={"identical": repeated, "studies": len(studies)})


def check_graphs(store: OpenedStore) -> Iterator[Finding]:
    """Look for graphs without entities, and for the largest groups of graphs that state the same."""
    counts = {split: (int((graph_sizes(store, split) == 0).sum()), len(store.tables[split])) for split in store.tables}
    numbers = {split: empty for split, (empty, _) in counts.items()}
    text = ", ".join(f"{split} {share(empty, rows)}" for split, (empty, rows) in counts.items())
    empty, rows = counts.get("train", (0, 0))
    many = rows > 0 and empty >= MANY_EMPTY * rows
    if rows and empty == rows:
        text += "; no training report has an entity, so only methods without reports can be trained"
    elif many:
        text += "; pretraining with graphs leaves these rows out, probes use their images"
    yield Finding("warning" if many else "ok", "graphs", f"without entities: {text}", numbers=numbers)
    yield from _check_keys(store)


def _check_keys(store: OpenedStore) -> Iterator[Finding]:
    keys = pd.DataFrame(
        {"study": store.ids["study"], "key": np.concatenate([graph_keys(store, s) for s in store.tables])}
    )
    studies = keys[keys["key"] != -1].drop_duplicates()
    if not len(studies):
        return
    sizes = studies["key"].value_counts()
    largest = ", ".join(f"{size:,}" for size in sizes.head(5))
    alike = int(sizes[sizes > 1].sum())
    message = f"{share(alike, len(studies))} studies state the same as another; largest groups {largest}"
    large = sizes.iloc[0] > LARGE_GROUP * len(studies) and len(studies) > 50
    if large:
        message += f" ({percent(int(sizes.iloc[0]), len(studies))} in one)"
    first = keys.index[keys["key"] == sizes.index[0]][:3]
    numbers = {"meanings": len(sizes), "alike": alike, "largest": [int(size) for size in sizes.head(5)]}
    yield Finding("warning" if large else "ok", "graph keys", message, store.places(first) if large else (), numbers)


def graph_sizes(store: OpenedStore, split: str) -> np.ndarray:
    """Return the number of entities of each row of a split, int64 [N]."""
    lengths = [pc.list_value_length(pc.struct_field(chunk, "label")) for chunk in store.column(split, "graph").chunks]
    return _joined([pc.fill_null(part, 0) for part in lengths])


def rows_stating(store: OpenedStore, split: str, side: str) -> np.ndarray:
    """Return which rows of a split state something on a side, "graph" or "report", bool [N]."""
    stated: np.ndarray = states(store.column(split, "graph"), side).to_numpy()
    return stated


def graph_keys(store: OpenedStore, split: str) -> np.ndarray:
    """Return the graph key of each row of a split, int64 [N]; -1 where the graph states nothing."""
    keys = [pc.struct_field(chunk, "key") for chunk in store.column(split, "graph").chunks]
    return _joined([pc.fill_null(part, -1) for part in keys])


def _joined(parts: list[pa.Array]) -> np.ndarray:
    empty: list[np.ndarray] = [np.zeros(0, np.int64)]
    return np.concatenate(empty + [part.to_numpy(zero_copy_only=False).astype(np.int64) for part in parts])
