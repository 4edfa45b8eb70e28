"""Checks of a store's manifest, splits, ids, patients and views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from igcl_lightning.data.preparing.study_rows import OTHER_SIZE
from igcl_lightning.data.store import NODE_TEXT
from igcl_lightning.data.study import SPLITS, VIEWS
from igcl_lightning.doctor.findings import Finding, Level, number, percent, share, such_as
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.graphs.parser import default_parser

MAX_AGE = 120

HARMLESS = (
    *("lateral view", "inverted (MONOCHROME1)", "range stretched to 8 bits", "padding made black"),
    *("masks rescaled to the image", "report blank", "report file missing"),
)
"""Flags that say what was done or is there, not what may be wrong."""


def check_manifest(store: OpenedStore) -> Iterator[Finding]:
    """Compare the manifest's counts with the rows, and its parser with the installed one."""
    rows = store.sizes
    claimed = dict(store.manifest.get("rows", {}))
    differing = [split for split in SPLITS if claimed.get(split, 0) != rows.get(split, 0)]
    if differing:
        split = differing[0]
        found = f"{rows.get(split, 0):,} {split} rows, the manifest says {claimed.get(split, 0):,}"
        yield Finding("error", "manifest", f"{found}; prepare the store again", numbers={"rows": rows})
    else:
        by = store.manifest.get("igcl_lightning", "an unknown version")
        yield Finding("ok", "manifest", f"counts agree with the rows; written by igcl-lightning {by}")
    options = store.manifest.get("options") or {}
    written, installed = store.manifest.get("parser"), default_parser(bool(options.get("any_language"))).version
    if written not in (None, installed):
        message = f"graphs were parsed by {written}, installed is {installed}; parse them again"
        yield Finding("warning", "parser", message)
    dropped = dict(store.manifest.get("dropped", {}))
    if dropped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        advice = "; only marked images have masks, so these are positives: prepare images of the original size"
        lost = OTHER_SIZE in dropped
        text = f"left out when preparing: {reasons}{advice if lost else ''}"
        yield Finding("warning" if lost else "ok", "dropped", text, numbers=dropped)


def check_splits(store: OpenedStore) -> Iterator[Finding]:
    """Report the sizes of the splits, and missing splits."""
    sizes = store.sizes
    uses = {"train": "training is impossible", "valid": "nothing to choose settings on", "test": "nothing to report"}
    for split in () if store.is_new else SPLITS:
        if not sizes.get(split):
            yield Finding("error" if split == "train" else "warning", "splits", f"no {split} rows: {uses[split]}")
    if sizes:
        text = ", ".join(f"{size:,} {split} ({percent(size, store.num_rows)})" for split, size in sizes.items())
        use = "; neither reports nor labels: for igcl predict, or pretraining on images alone" if store.is_new else ""
        yield Finding("ok", "splits", f"rows {text}{use}", numbers=sizes)


def check_row_ids(store: OpenedStore) -> Iterator[Finding]:
    """Find rows with the id of another row."""
    repeated = store.ids["row"].duplicated(keep=False).to_numpy().nonzero()[0]
    yield from store.suspects("error", "rows", repeated, f"{number(len(repeated), 'row')} with the id of another")


def check_patients(store: OpenedStore) -> Iterator[Finding]:
    """Find patients in several splits, and studies of several patients."""
    splits = store.ids[["patient", "split"]].drop_duplicates()
    crossing = splits[splits["patient"].duplicated(keep=False)].groupby("patient", sort=False)["split"].agg(list)
    if len(crossing):
        where = " and ".join(crossing.iloc[0])
        rows = store.ids["patient"].isin(crossing.index).to_numpy().nonzero()[0]
        message = (
            f"{number(len(crossing), 'patient')} in several splits{such_as(crossing.index)} (the first in {where}): "
            "training sees test patients; prepare the store again with splits by patient"
        )
        numbers = {"patients": {str(name): list(found) for name, found in crossing.head(100).items()}}
        yield Finding("error", "patients", message, store.places(rows), numbers)
    else:
        yield Finding("ok", "patients", f"{number(store.ids['patient'].nunique(), 'patient')}, none in two splits")
    pairs = store.ids[["study", "patient"]].drop_duplicates()
    shared = pairs[pairs["study"].duplicated()]["study"].unique()
    if len(shared):
        rows = store.ids["study"].isin(shared).to_numpy().nonzero()[0]
        message = f"{number(len(shared), 'study id')} of several patients{such_as(shared)}; make study ids unique"
        yield Finding("error", "studies", message, store.places(rows), {"studies": len(shared)})


def check_people(store: OpenedStore) -> Iterator[Finding]:
    """Count missing ages and sexes, and find impossible ages."""
    ids = store.ids
    missing = {name: int(ids[name].isna().sum()) for name in ("age", "sex")}
    text = ", ".join(f"{name} missing in {share(count, len(ids))}" for name, count in missing.items())
    yield Finding("ok", "people", f"{text} rows", numbers=missing)
    odd = ((ids["age"] < 0) | (ids["age"] > MAX_AGE)).to_numpy(dtype=bool).nonzero()[0]
    if len(odd):
        ages = sorted({float(age) for age in ids["age"].iloc[odd]})
        message = f"{number(len(odd), 'row')} with an impossible age, such as {ages[-1]:g}"
        yield Finding("warning", "people", message, store.places(odd))


def check_views(store: OpenedStore) -> Iterator[Finding]:
    """Count the views of each split."""
    counts: dict[str, dict[str, int]] = {
        str(split): {str(view): int(count) for view, count in rows["view"].value_counts(dropna=False).items()}
        for split, rows in store.ids.groupby("split", sort=False)
    }
    names = {view for views in counts.values() for view in views}
    unknown = sorted(names - set(VIEWS))
    if unknown:
        yield Finding("error", "views", f"{unknown[0]!r} is not a view, expected {', '.join(VIEWS)}; prepare again")
    text = "; ".join(
        f"{split} {', '.join(f'{count:,} {view}' for view, count in views.items())}" for split, views in counts.items()
    )
    if names == {"unknown"}:
        source = store.manifest.get("source") or {}
        named = source.get("name") != "table" or "view" in source.get("columns", {})
        hint = "" if named else " (name their column with --view-column)"
        message = f"all views are unknown{hint}: lateral images cannot be left out"
        yield Finding("warning", "views", message, numbers=counts)
    else:
        yield Finding("ok", "views", text, numbers=counts)


def check_node_text(store: OpenedStore) -> Iterator[Finding]:
    """Report whether the store has language-model features of graph nodes."""
    present = [split for split, table in store.tables.items() if NODE_TEXT in table.column_names]
    described: dict[str, Any] = store.manifest.get("node_text") or {}
    if bool(present) != bool(described) or len(present) not in (0, len(store.tables)):
        yield Finding("error", "node text", "manifest and tables disagree on node text; prepare the store again")
    elif described:
        yield Finding("ok", "node text", f"{described.get('channels')} channels of {described.get('model')}")
    else:
        yield Finding("ok", "node text", "none stored; graphs use hashed subwords")


def check_flags(store: OpenedStore) -> Iterator[Finding]:
    """Count the flags set by `igcl prepare`, by row if the store has them, else by the manifest."""
    by_row: list[list[str] | None] = []
    for split, table in store.tables.items():
        known = "flags" in table.column_names
        by_row += store.column("flags", split).to_pylist() if known else [None] * len(table)
    found = dict(Counter(flag for flags in by_row for flag in flags or ())) or {
        str(flag): int(count) for flag, count in (store.manifest.get("flags") or {}).items()
    }
    levels: dict[Level, dict[str, int]] = {
        "warning": {flag: count for flag, count in found.items() if flag not in HARMLESS},
        "ok": {flag: count for flag, count in found.items() if flag in HARMLESS},
    }
    for level, counts in levels.items():
        text = ", ".join(f"{count:,} {flag}" for flag, count in sorted(counts.items()))
        rows = [number for number, flags in enumerate(by_row) if set(flags or ()) & counts.keys()]
        if counts:
            yield Finding(level, "flags", f"flagged when preparing: {text}", store.places(rows), counts)
