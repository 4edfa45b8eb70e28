"""Patients held out of pretraining: those of stores for evaluation, such as MIMIC-5x200."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from igcl_lightning.data.sources.source import Item, Source
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study
from igcl_lightning.errors import IgclError


def patients_of(store: Store) -> set[str]:
    """Return the patients of a store."""
    return {patient for split in store.splits for patient in store.column(split, "patient")}


def without_patients(source: Source, stores: Sequence[Path]) -> Source:
    """Return a source without the studies of the patients of some stores; they are counted.

    A patient who is only in the header of a DICOM file is not known here.

    Raises:
        IgclError: a store cannot be read.
    """
    opened = [Store(path) for path in stores]
    patients = frozenset().union(*map(patients_of, opened))
    items = partial(_others, source.items, patients)
    left_out = sum(_is_of(item, patients) for item in source.items())
    counts = source.counts + Counter({"studies of patients held out": left_out})
    settings = {**source.settings, "held_out": [store.fingerprint for store in opened]}
    return replace(source, items=items, counts=counts, settings=settings)


def _others(items: Callable[[], Iterator[Item]], patients: frozenset[str]) -> Iterator[Item]:
    return (item for item in items() if not _is_of(item, patients))


def _is_of(item: Item, patients: frozenset[str]) -> bool:
    return isinstance(item, Study) and item.patient_id in patients


def refuse_held_out(store: Store, paths: Sequence[str]) -> None:
    """Raise `IgclError` if a patient whom training or validation sees is in one of some other stores."""
    for path in paths:
        held = patients_of(Store(path))
        for split in (split for split in ("train", "valid") if split in store.splits):
            if shared := held.intersection(store.column(split, "patient")):
                some = f"{len(shared)} patients of {split}, such as {min(shared)!r}"
                raise IgclError(
                    f"{store.path}: {some}, are held out in {path}; prepare it with --update --held-out {path}"
                )
