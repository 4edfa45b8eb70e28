"""What the label values of a data set become: uncertain ones, blank ones, and those that No Finding answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from igcl_lightning.errors import IgclError

CHEXPERT_LABELS: tuple[str, ...] = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The labels of CheXpert, MIMIC-CXR and CheXpert Plus, in CheXpert's order; their tables have several orders."""

NIH_LABELS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The 14 findings of NIH ChestX-ray14, which Open-i's gold table has too."""

UNCERTAIN: Mapping[str, float | None] = {"ignore": None, "positive": 1.0, "negative": 0.0}
"""What the value -1 becomes: not known (U-Ignore), 1 (U-Ones), 0 (U-Zeros)."""

PER_LABEL: Mapping[str, Mapping[str, str]] = {
    "per-label": {
        "Atelectasis": "positive",
        "Edema": "positive",
        "Pleural Effusion": "positive",
        "Cardiomegaly": "negative",
        "Consolidation": "negative",
    }
}
"""The mixture that GLoRIA and MGCA use for the five labels of the CheXpert competition."""

BLANK = ("missing", "negative", "no-finding")
"""What a blank value becomes: not known; 0; or 0 where No Finding is 1 and not known elsewhere."""

NO_FINDING, SUPPORT_DEVICES = "No Finding", "Support Devices"


@dataclass(frozen=True)
class LabelPolicy:
    """How values 1, 0, -1 and blank become 1.0, 0.0 and None.

    Attributes:
        uncertain: what -1 becomes for a label that `by_label` does not name, one of `UNCERTAIN`.
        by_label: what -1 becomes, by label.
        blank: what a blank becomes, one of `BLANK`.

    Raises:
        IgclError: a word is none of those.
    """

    uncertain: str = "ignore"
    by_label: Mapping[str, str] = field(default_factory=dict)
    blank: str = "missing"

    def __post_init__(self) -> None:
        for word in (self.uncertain, *self.by_label.values()):
            if word not in UNCERTAIN:
                raise IgclError(f"--uncertain: {word!r} is not one of {', '.join(UNCERTAIN)}")
        if self.blank not in BLANK:
            raise IgclError(f"--blank: {self.blank!r} is not one of {', '.join(BLANK)}")

    @classmethod
    def parse(cls, uncertain: str, blank: str = "missing") -> LabelPolicy:
        """Read a policy from the command line.

        Args:
            uncertain: one of `UNCERTAIN`, "per-label", or pairs such as "Edema=positive,Fracture=ignore".
            blank: one of `BLANK`.

        Raises:
            IgclError: it is none of these.
        """
        if uncertain in PER_LABEL:
            return cls(by_label=PER_LABEL[uncertain], blank=blank)
        if "=" not in uncertain:
            if uncertain not in UNCERTAIN:
                known = ", ".join([*UNCERTAIN, *PER_LABEL])
                raise IgclError(f"--uncertain: {uncertain!r} is not one of {known}, nor pairs LABEL=POLICY,...")
            return cls(uncertain=uncertain, blank=blank)
        pairs = [pair.partition("=") for pair in uncertain.split(",")]
        for label, equals, _ in pairs:
            if not equals:
                raise IgclError(f"--uncertain: {label.strip()!r} is no pair LABEL=POLICY, as {uncertain!r} begins")
        return cls(by_label={label.strip(): word.strip() for label, _, word in pairs}, blank=blank)

    def check(self, labels: tuple[str, ...]) -> None:
        """Check that the labels that are named exist.

        Raises:
            IgclError: one does not, or blanks depend on No Finding and there is no such label.
        """
        unknown = [] if self.by_label in PER_LABEL.values() else [name for name in self.by_label if name not in labels]
        if unknown:
            raise IgclError(f"--uncertain: no label {unknown[0]!r}; there are {', '.join(labels) or 'none'}")
        if self.blank == "no-finding" and NO_FINDING not in labels:
            raise IgclError(f"--blank no-finding: there is no label {NO_FINDING!r}")

    def __call__(self, values: Mapping[str, float | None]) -> dict[str, float | None]:
        """Return the labels of one study from its values, each 1, 0, -1 or None for blank.

        Raises:
            ValueError: a value is none of these; the message names it and its label.
        """
        healthy = values.get(NO_FINDING) == 1
        return {label: self._of(label, value, healthy) for label, value in values.items()}

    def of_table(self, path: Path, frame: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
        """Return the labels of each row of a table.

        Args:
            path: of the table, for the message.
            frame: texts or numbers, None where blank; the row of index i is row i + 2 of the file.
            labels: names of the columns.

        Returns:
            [N, L] float32: 1, 0, and nan for not known.

        Raises:
            IgclError: a cell is not 1, 0, -1 or blank; the message names file, row and column.
        """
        numbers = _label_numbers(path, frame, labels)
        healthy = (
            numbers[:, labels.index(NO_FINDING)] == 1 if NO_FINDING in labels else np.zeros(len(frame), dtype=bool)
        )
        known = numbers.astype(np.float32)
        for place, label in enumerate(labels):
            blank = np.isnan(numbers[:, place])
            known[numbers[:, place] == -1, place] = _or_nan(self._of(label, -1, False))
            known[blank, place] = _or_nan(self._of(label, None, False))
            known[blank & healthy, place] = _or_nan(self._of(label, None, True))
        return known

    def described(self) -> dict[str, object]:
        """Return what the manifest says."""
        return {"uncertain": self.uncertain, "uncertain_by_label": dict(self.by_label), "blank": self.blank}

    def _of(self, label: str, value: float | None, healthy: bool) -> float | None:
        if value is None:
            answered = self.blank == "negative" or (self.blank == "no-finding" and healthy and label != SUPPORT_DEVICES)
            return 0.0 if answered else None
        if value == -1:
            return UNCERTAIN[self.by_label.get(label, self.uncertain)]
        if value not in (0, 1):
            raise ValueError(f"label {label!r} is {value:g}, not 1, 0, -1 or blank")
        return float(value)


def _no_values() -> np.ndarray:
    return np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class LabelTable:
    """The labels of many studies or images in little memory.

    Attributes:
        names: of the labels, L.
        values: [N, L], as `LabelPolicy.of_table` returns them.
        row: of each study or image in `values`.
    """

    names: tuple[str, ...] = ()
    values: np.ndarray = field(default_factory=_no_values)
    row: Mapping[str, int] = field(default_factory=dict)

    def of(self, key: str) -> dict[str, float | None]:
        """Return the labels of a study or an image, none where the table lacks it."""
        if key not in self.row:
            return {}
        values = self.values[self.row[key]].tolist()
        return {name: None if value != value else value for name, value in zip(self.names, values, strict=True)}


def _label_numbers(path: Path, frame: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Return the cells of the label columns, [N, L]: 1, 0, -1, and nan where blank."""
    numbers = np.empty((len(frame), len(labels)))
    for place, label in enumerate(labels):
        numbers[:, place] = pd.to_numeric(frame[label], errors="coerce")
        wrong = frame[label].notna().to_numpy() & ~np.isin(numbers[:, place], (1, 0, -1))
        if wrong.any():
            row = int(wrong.argmax())
            where = f"{path} row {frame.index[row] + 2}, column {label!r}"
            raise IgclError(f"{where}: {str(frame[label].iloc[row])!r} is not 1, 0, -1 or blank")
    return numbers


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
