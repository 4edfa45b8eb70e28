"""The manifest of a store: counts over all chunks, dropped and flagged rows, and the fingerprint of its content."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from igcl_lightning.data.preparing.chunk import COUNTED
from igcl_lightning.data.study import SPLITS
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.sections import SECTION_CHOICES

MAX_NAMED = 1000
"""Maximum number of rows that the manifest lists per drop reason and per flag."""


MAX_VIEWS = 20
"""Maximum number of words for unknown views that the manifest lists."""


class NoRowsError(IgclError):
    """A source without a usable row."""


class Ids:
    """Row ids, and patients with their splits."""

    def __init__(self) -> None:
        self.rows: set[str] = set()
        self.split_of: dict[str, str] = {}

    def add_row(self, row: str) -> None:
        """Add a row id; raises `IgclError` if it is taken."""
        if row in self.rows:
            raise IgclError(f"row {row!r} occurs twice in the source; row ids must be unique")
        self.rows.add(row)

    def add_patient(self, patient: str, split: str) -> None:
        """Add a patient; raises `IgclError` if the patient is in another split."""
        first = self.split_of.setdefault(patient, split)
        if first != split:
            raise IgclError(f"patient {patient!r} is in both {first} and {split}; splits must be by patient")


class Tally:
    """Counts over all chunks of a store, from their notes (`Chunk.commit`).

    Raises:
        IgclError: a row id occurs twice, a patient is in two splits, or an array has another shape in later rows.
    """

    def __init__(self, chunks: Iterable[Mapping[str, Any]]) -> None:
        self.ids = Ids()
        self.studies: set[str] = set()
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self.empty_graphs, self.read = 0, 0
        self.drops: Counter[str] = Counter()
        self.dropped: list[dict[str, str]] = []
        self.flagged: list[dict[str, Any]] = []
        self.shapes: dict[str, list[int]] = {}
        self.content = hashlib.sha256()
        self._named: Counter[str] = Counter()
        for notes in chunks:
            self._add(notes)

    def _add(self, notes: Mapping[str, Any]) -> None:
        for row, *_ in notes["rows"]:
            self.ids.add_row(row)
        for patient, split in notes["patients"].items():
            self.ids.add_patient(patient, split)
        self.studies.update(notes["studies"])
        for name, counts in self.counts.items():
            counts.update(notes[name])
        self.empty_graphs += notes["empty_graphs"]
        self.read += notes["read"]
        for row, reason, detail in notes["drops"]:
            self.drops[reason] += 1
            if self._may_name(reason):
                self.dropped.append({"row": row, "reason": reason, "detail": detail})
        for row, flags in notes["flagged"]:
            if any([self._may_name(flag) for flag in flags]):
                self.flagged.append({"row": row, "flags": flags})
        for name, shape in notes["shapes"].items():
            if (first := self.shapes.setdefault(name, shape)) != shape:
                clash = f"{name} has shape {first} in some rows and {shape} in later ones"
                raise IgclError(f"{clash}; --overwrite starts over")
        self.content.update(notes["content"].encode())

    def _may_name(self, reason: str) -> bool:
        """Return whether the manifest can list one more row for this reason."""
        self._named[reason] += 1
        return self._named[reason] <= MAX_NAMED

    def _why_none(self) -> str:
        """Return the reasons for which all rows were dropped, with the first of each."""
        named = {each["reason"]: each for each in reversed(self.dropped)}
        said = []
        for reason, count in self.drops.most_common():
            row, detail = named[reason]["row"], named[reason]["detail"]
            example = detail if row in detail else f"{row}: {detail}" if detail else row
            said.append(f"{reason} ({count:,}, such as {example})" if count > 1 else f"{reason}: {example}")
        return f": {'; '.join(said)}" if said else ", since it has no rows"

    def _label(self, name: str) -> dict[str, int]:
        return {count: self.counts[count][name] for count in ("known", "positive")}

    def manifest(self, work: Mapping[str, Any], source_counts: Mapping[str, int]) -> dict[str, Any]:
        """Return the manifest; raises `NoRowsError` if there are no rows.

        Args:
            work: everything the rows depend on, as JSON.
            source_counts: counts of what the reader left out or noticed.
        """
        if not self.ids.rows:
            raise NoRowsError(f"the source has no usable row{self._why_none()}")
        options, splits = work["options"], self.counts["splits"]
        return {
            **work,
            "size": options["size"],
            "image_format": "png" if options["lossless"] else "jpeg",
            "sections": list(SECTION_CHOICES[options["sections"]]),
            "labels": list(work["columns"]["labels"]),
            "extra": work["columns"]["extra"],
            "rows": {split: splits[split] for split in SPLITS if splits[split]},
            "records_read": self.read,
            "studies": len(self.studies),
            "patients": dict(Counter(self.ids.split_of.values())),
            "rows_by_report": dict(sorted(self.counts["reports"].items())),
            "rows_with_empty_graph": self.empty_graphs,
            "label_counts": {name: self._label(name) for name in work["columns"]["labels"]},
            "arrays": self.shapes,
            "source_counts": dict(sorted(source_counts.items())),
            "dropped": dict(sorted(self.drops.items())),
            "dropped_rows": self.dropped,
            "views_not_known": dict(self.counts["views"].most_common(MAX_VIEWS)),
            "flags": dict(sorted(self.counts["flags"].items())),
            "flagged_rows": self.flagged,
            "fingerprint": self.content.hexdigest(),
        }
