"""Checks of reports and their graphs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from igcl_lightning.data.study import REPORT_SECTIONS
from igcl_lightning.doctor.findings import Finding, number, percent, share
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.reports.files import LFS_POINTER

NO_TEXT = ("nan", "none", "null", "n/a", "na")
"""Texts that tables and programs write for a missing report; compared in lower case."""

LARGE_GROUP = 0.2
"""Share of studies in one group of equal graphs that is a warning."""

MANY_EMPTY = 0.05
"""Share of training rows without a statement that is a warning; 0.008 in Open-i."""


def _report_table(store: OpenedStore) -> pd.DataFrame:
    """Return the hash of each row's report, and whether it is blank, a pointer, or "nan", in the order of `ids`.

    Texts are hashed chunk by chunk, so that a store's reports are never in memory at once.
    """
    return pd.concat([_read(chunk) for chunk in store.column("report").chunks], ignore_index=True)


def _read(chunk: pa.StructArray) -> pd.DataFrame:
    names = [field.name for field in chunk.type]
    sections = [pc.fill_null(pc.struct_field(chunk, name), "") for name in REPORT_SECTIONS if name in names]
    text = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*sections, "\n"))
    flags = {
        "blank": pc.equal(pc.utf8_length(text), 0),
        "pointer": pc.starts_with(text, LFS_POINTER.decode()),
        "nan": pc.is_in(pc.utf8_lower(text), pa.array(NO_TEXT)),
    }
    hashes = np.fromiter(map(hash, text.to_pylist()), np.int64)
    return pd.DataFrame({"text": hashes} | {name: flag.to_pandas() for name, flag in flags.items()})


def check_reports(store: OpenedStore) -> Iterator[Finding]:
    """Find reports that are pointers, placeholders such as "nan", empty, or shared by several studies."""
    if not store.has_reports:
        yield Finding("ok", "reports", "none: only methods without reports can be trained")
        return
    table = _report_table(store)
    pointers, nans = (table[kind].to_numpy().nonzero()[0] for kind in ("pointer", "nan"))
    text = f"{number(len(pointers), 'report')} replaced by a Git-LFS pointer"
    todo = "; run git lfs pull and prepare again"
    yield from store.suspects("error", "reports", pointers, text, todo, pointers=len(pointers))
    if len(nans):
        message = f'{number(len(nans), "report")} that read "nan" or the like; empty those cells and prepare again'
        yield Finding("error", "reports", message, store.places(nans), {"nan": len(nans)})
    text, numbers = _by_split(store, table["blank"])
    yield Finding("ok", "reports", f"empty: {text}", numbers=numbers)
    yield from _check_identical(store, table)


def _by_split(store: OpenedStore, empty: pd.Series[bool]) -> tuple[str, dict[str, int]]:
    """Return the number of empty rows by split, as text and as data."""
    counts = {str(split): rows for split, rows in empty.groupby(store.ids["split"], sort=False)}
    numbers = {split: int(rows.sum()) for split, rows in counts.items()}
    return ", ".join(f"{split} {share(numbers[split], len(rows))}" for split, rows in counts.items()), numbers


def studies_of_shared_text(store: OpenedStore, table: pd.DataFrame | None = None) -> tuple[int, int]:
    """Return the number of studies that share their whole text with another, and of studies with a text."""
    table = _report_table(store) if table is None else table
    studies = table[["text"]].assign(study=store.ids["study"])[~table["blank"]].drop_duplicates()
    return int(studies["text"].duplicated(keep=False).sum()), len(studies)


def _check_identical(store: OpenedStore, table: pd.DataFrame) -> Iterator[Finding]:
    repeated, studies = studies_of_shared_text(store, table)
    if not studies:
        return
    message = f"{share(repeated, studies)} studies share their whole text with another study"
    if repeated:
        message += ": each is a false negative of the other unless loss targets say otherwise"
    yield Finding("ok", "reports", message, numbers={"identical": repeated, "studies": studies})


def check_graphs(store: OpenedStore) -> Iterator[Finding]:
    """Count graphs without entities, and find large groups of graphs that state the same."""
    if not store.has_reports:
        return
    empty = pd.Series(graph_sizes(store) == 0)
    text, numbers = _by_split(store, empty)
    rows = store.sizes.get("train", 0)
    many = rows > 0 and numbers["train"] >= MANY_EMPTY * rows
    if rows and numbers["train"] == rows:
        text += "; no training report has an entity, so only methods without reports can be trained"
    elif many:
        text += "; pretraining with graphs leaves these rows out, probes use their images"
    yield Finding("warning" if many else "ok", "graphs", f"without entities: {text}", numbers=numbers)
    yield from _check_keys(store)


def _check_keys(store: OpenedStore) -> Iterator[Finding]:
    keys = store.ids[["study"]].assign(key=graph_keys(store))
    studies = keys[keys["key"] != -1].drop_duplicates()
    if not len(studies):
        return
    sizes = studies["key"].value_counts()
    largest = [int(size) for size in sizes.head(5)]
    alike = int(sizes[sizes > 1].sum())
    groups = ", ".join(f"{size:,}" for size in largest)
    message = f"{share(alike, len(studies))} studies state the same as another; largest groups {groups}"
    large = largest[0] > LARGE_GROUP * len(studies) and len(studies) > 50
    if large:
        message += f" ({percent(largest[0], len(studies))} in one)"
    places = store.places(keys.index[keys["key"] == sizes.index[0]][:3]) if large else ()
    numbers = {"meanings": len(sizes), "alike": alike, "largest": largest}
    yield Finding("warning" if large else "ok", "graph keys", message, places, numbers)


def graph_sizes(store: OpenedStore) -> np.ndarray:
    """Return the number of entities of each row, int32 [N]."""
    return np.asarray(pc.fill_null(pc.list_value_length(pc.struct_field(store.column("graph"), "label")), 0))


def graph_keys(store: OpenedStore) -> np.ndarray:
    """Return the graph key of each row, int64 [N]; -1 if the graph states nothing."""
    return np.asarray(pc.fill_null(pc.struct_field(store.column("graph"), "key"), -1))
