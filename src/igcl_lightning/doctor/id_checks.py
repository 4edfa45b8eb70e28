"""Check of patient ids: patients who are one person in two spellings, and ids that stand for nobody.

`igcl prepare` reads tables by the same rule (`texts.plain_id`); stores of an earlier version, or of a program of one's
own, may break it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from igcl_lightning.doctor.findings import Finding, Level, number, such_as
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.texts import plain_id

AGAIN = "prepare the store again"


def check_ids(store: OpenedStore) -> Iterator[Finding]:
    """Find patients such as 12 and 12.0 (an error), 12 and 012 (perhaps one), or NA."""
    names = pd.Series(store.ids["patient"].unique(), dtype=object)
    plain = names.map(plain_id)
    nobody = names[plain.isna()]
    if len(nobody):
        rows = store.ids["patient"].isin(nobody).to_numpy().nonzero()[0]
        message = f"{number(len(rows), 'row')} of a patient who is nobody{such_as(nobody)}: several persons; {AGAIN}"
        yield Finding("error", "patients", message, store.places(rows))
    names, plain = names[plain.notna()], plain[plain.notna()]
    yield from _spellings(store, names, plain, "error", "under several ids that are one number")
    spelt_once = ~plain.duplicated(keep=False)
    loose = plain[spelt_once].str.lstrip("0").str.casefold()
    text = "perhaps under several ids, alike but for case or leading zeros"
    yield from _spellings(store, names[spelt_once], loose, "warning", text, f"mend the table if so, and {AGAIN}")


def _spellings(
    store: OpenedStore, names: pd.Series, keys: pd.Series, level: Level, text: str, advice: str = AGAIN
) -> Iterator[Finding]:
    """Yield a finding on the patients who share a key, if there are any; those in several splits are named first."""
    people = [tuple(found) for _, found in names.groupby(keys, sort=False) if len(found) > 1]
    if not people:
        return
    ids = store.ids[store.ids["patient"].isin({name for person in people for name in person})]
    splits = ids.groupby("patient")["split"].agg(set)
    crossing = [person for person in people if len(set().union(*splits[[*person]])) > 1]
    first = " and ".join(map(repr, [*crossing, *people][0]))
    where = f"{len(crossing):,} of them in several splits, so that training sees test patients; " if crossing else ""
    message = f"{number(len(people), 'patient')} {text} ({first}); {where}{advice}"
    numbers = {"patients": len(people), "in_several_splits": len(crossing)}
    yield Finding(level, "patients", message, store.places(ids.index.to_numpy()), numbers)
