"""Stores from tables that `datasets` filtered, concatenated or downloaded."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
from PIL import Image

from igcl_lightning.data.store_path import MANIFEST
from igcl_lightning.data.study import SPLITS
from igcl_lightning.errors import IgclError

HASHED = ("row", "study", "patient", "view", "image", "report", "labels")
KEPT = (
    *("format_version", "igcl_lightning", "parser", "options", "columns", "node_text"),
    *("size", "image_format", "sections", "labels", "extra", "arrays"),
)
"""Entries copied from the manifest of the original store; counts are recomputed or left out."""

ROWS_AT_ONCE = 256


def save_store(tables: Mapping[str, datasets.Dataset], out: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write tables as a store and return its manifest.

    Args:
        tables: rows by split, with the columns of a store: `Store.table(split)`, or a table derived from it.
        out: path of the new store.
        manifest: `Store.manifest` of the original store, or of one of several prepared with the same options.

    Raises:
        IgclError: the path exists, a split or a column is unknown, labels, image sizes or shapes of arrays differ from
            the manifest, a row id occurs twice, or a patient is in two splits.
    """
    unfinished = out.with_name(f"{out.name}.partial")
    for path in (out, unfinished):
        if path.exists():
            raise IgclError(f"{path}: exists already")
    unknown = sorted(set(tables) - set(SPLITS))
    if unknown:
        raise IgclError(f"{out}: split {unknown[0]!r} is not one of {', '.join(SPLITS)}")
    chosen = {split: _checked(split, tables[split], manifest) for split in SPLITS if split in tables}
    if not any(map(len, chosen.values())):
        raise IgclError(f"{out}: the tables have no rows")
    described = {name: manifest[name] for name in KEPT if name in manifest}
    described |= _counted(chosen) | _hashed(chosen, manifest)
    described["source"] = {"name": "tables", "of": manifest["source"]}
    try:
        for split, table in tables.items():
            if len(table):
                table.save_to_disk(str(unfinished / split))
        text = json.dumps(described, indent=1, ensure_ascii=False)
        (unfinished / MANIFEST).write_text(f"{text}\n", encoding="utf-8")
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return described


def _checked(split: str, table: datasets.Dataset, manifest: Mapping[str, Any]) -> datasets.Dataset:
    """Return the columns that are hashed, with the images as bytes."""
    names = {*HASHED, "graph"} - (set() if manifest["labels"] else {"labels"})
    lacking = sorted(names - set(table.column_names))
    if lacking:
        raise IgclError(f"split {split!r}: no column {lacking[0]!r}; these are not the rows of a store")
    labels = list(table.features["labels"]) if manifest["labels"] else []
    if labels != list(manifest["labels"]):
        raise IgclError(f"split {split!r}: its labels are {', '.join(labels)}, not those of the manifest")
    chosen = table.select_columns(sorted({*names, *manifest["arrays"]}))
    return chosen.cast_column("image", datasets.Image(decode=False))


def _counted(tables: Mapping[str, datasets.Dataset]) -> dict[str, Any]:
    """Return the counts of the manifest; raise if a row id occurs twice or a patient is in two splits."""
    columns = ["row", "study", "patient"]
    ids = pd.concat([table.select_columns(columns).to_pandas().assign(split=split) for split, table in tables.items()])
    for row in ids.loc[ids["row"].duplicated(), "row"]:
        raise IgclError(f"row {row!r} occurs twice in the tables; row ids must be unique")
    patients = ids[["patient", "split"]].drop_duplicates()
    for patient in patients.loc[patients["patient"].duplicated(), "patient"]:
        first, second = patients.loc[patients["patient"] == patient, "split"].iloc[:2]
        raise IgclError(f"patient {patient!r} is in both {first} and {second}; splits must be by patient")
    return {
        "rows": dict(Counter(ids["split"])),
        "studies": ids["study"].nunique(),
        "patients": dict(Counter(patients["split"])),
    }


def _hashed(tables: Mapping[str, datasets.Dataset], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return fingerprint and number of empty graphs; raise if an image or an array differs from the manifest's size."""
    lengths = {name: math.prod(shape) for name, shape in manifest["arrays"].items()}
    content, empty = hashlib.sha256(), 0
    for split, table in tables.items():
        for batch in table.iter(ROWS_AT_ONCE):
            for place, row in enumerate(batch["row"]):
                _check_image(row, batch["image"][place]["bytes"], manifest["size"])
                for name, length in lengths.items():
                    numbers = batch[name][place]
                    if numbers is not None and len(numbers) != length:
                        raise IgclError(f"row {row!r}: {name} has {len(numbers)} numbers, not {length}")
            empty += sum(graph["key"] == -1 for graph in batch["graph"])
            images = [hashlib.sha256(image["bytes"]).hexdigest() for image in batch["image"]]
            content.update(repr((split, {**batch, "image": images})).encode())
    return {"rows_with_empty_graph": empty, "fingerprint": content.hexdigest()}


def _check_image(row: str, data: bytes, size: int) -> None:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    if (width, height) != (size, size):
        raise IgclError(f"row {row!r}: its image is {width} x {height}, that of others {size} x {size}")
