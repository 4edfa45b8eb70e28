"""Labels of a data set, and the policy on uncertain and blank ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from igcl_lightning.data.sources.checks import refuse_cells
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
"""Labels of CheXpert, MIMIC-CXR and CheXpert Plus, in CheXpert's order; the order of their tables differs."""

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
"""The 14 findings of NIH ChestX-ray14, also those of Open-i's gold table."""

UNCERTAIN: Mapping[str, float] = {"ignore": np.nan, "positive": 1.0, "negative": 0.0}
"""Value of the label -1 by policy: unknown (U-Ignore), 1 (U-Ones), 0 (U-Zeros)."""

PER_LABEL: Mapping[str, str] = {
    "Atelectasis": "positive",
    "Edema": "positive",
    "Pleural Effusion": "positive",
    "Cardiomegaly": "negative",
    "Consolidation": "negative",
}
"""The policy "per-label", which GLoRIA and MGCA use for the five labels of the CheXpert competition."""

BLANK = ("missing", "negative", "no-finding")
"""Value of a blank label: unknown; 0; or 0 if No Finding is 1 and unknown otherwise."""

NO_FINDING, SUPPORT_DEVICES = "No Finding", "Support Devices"


@dataclass(frozen=True)
class LabelPolicy:
    """How the values 1, 0, -1 (uncertain) and blank become 1, 0 and unknown.

    Attributes:
        uncertain: value of -1 for labels that are not in `by_label`, one of `UNCERTAIN`.
        by_label: value of -1 by label.
        blank: value of a blank, one of `BLANK`.

    Raises:
        IgclError: a word is not one of these.
    """

    uncertain: str = "ignore"
    by_label: Mapping[str, str] = field(default_factory=dict)
    blank: str = "missing"

    def __post_init__(self) -> None:
        for word in (self.uncertain, *self.by_label.values()):
            if word not in UNCERTAIN:
                known = f"{', '.join(UNCERTAIN)}, per-label, or pairs LABEL=POLICY,..."
                raise IgclError(f"--uncertain: {word!r} is not one of {known}")
        if self.blank not in BLANK:
            raise IgclError(f"--blank: {self.blank!r} is not one of {', '.join(BLANK)}")

    @classmethod
    def parse(cls, uncertain: str, blank: str = "missing") -> LabelPolicy:
        """Return the policy of the options `--uncertain` and `--blank`.

        Args:
            uncertain: one of `UNCERTAIN`, "per-label", or pairs such as "Edema=positive,Fracture=ignore".
            blank: one of `BLANK`.

        Raises:
            IgclError: it is none of these.
        """
        if uncertain == "per-label":
            return cls(by_label=PER_LABEL, blank=blank)
        if "=" not in uncertain:
            return cls(uncertain=uncertain, blank=blank)
        pairs = [pair.partition("=") for pair in uncertain.split(",")]
        for label, equals, _ in pairs:
            if not equals:
                raise IgclError(f"--uncertain: {label.strip()!r} in {uncertain!r} is not a pair LABEL=POLICY")
        return cls(by_label={label.strip(): word.strip() for label, _, word in pairs}, blank=blank)

    def check(self, labels: tuple[str, ...]) -> None:
        """Check the policy against the labels of a data set.

        Raises:
            IgclError: the policy names a label that does not exist, or needs No Finding and there is no such label.
        """
        unknown = [] if self.by_label is PER_LABEL else [label for label in self.by_label if label not in labels]
        if unknown:
            raise IgclError(f"--uncertain: no label {unknown[0]!r}; there are {', '.join(labels) or 'none'}")
        if self.blank == "no-finding" and NO_FINDING not in labels:
            raise IgclError(f"--blank no-finding: there is no label {NO_FINDING!r}")

    def of_table(self, path: Path, frame: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
        """Return the labels of each row of a table.

        Args:
            path: path of the table, for the message.
            frame: texts or numbers, None where blank; the row of index i is row i + 2 of the file.
            labels: names of the columns.

        Returns:
            [N, L] float32: 1, 0, and nan for unknown.

        Raises:
            IgclError: a cell is not 1, 0, -1 or blank; the message names file, row and column.
        """
        known = np.empty((len(frame), len(labels)), dtype=np.float32)
        healthy = pd.to_numeric(frame[NO_FINDING], errors="coerce") == 1 if NO_FINDING in labels else False
        for place, label in enumerate(labels):
            cells = frame[label]
            values = pd.to_numeric(cells, errors="coerce")
            refuse_cells(path, cells, cells.notna() & ~values.isin((1, 0, -1)), "is not 1, 0, -1 or blank")
            absent = self.blank == "negative" or (self.blank == "no-finding" and label != SUPPORT_DEVICES) & healthy
            values = values.mask(values == -1, UNCERTAIN[self.by_label.get(label, self.uncertain)])
            known[:, place] = values.mask(cells.isna() & absent, 0.0)
        return known

    def described(self) -> dict[str, object]:
        """Return the manifest's entries about the policy."""
        return {"uncertain": self.uncertain, "uncertain_by_label": dict(self.by_label), "blank": self.blank}


@dataclass(frozen=True)
class LabelTable:
    """Labels of many studies or images in little memory.

    Attributes:
        names: names of the labels, L.
        values: [N, L], as `LabelPolicy.of_table` returns them.
        row: row in `values` of each study or image.
    """

    names: tuple[str, ...] = ()
    values: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    row: Mapping[str, int] = field(default_factory=dict)

    def of(self, key: str) -> dict[str, float | None]:
        """Return the labels of a study or an image, none if the table lacks it."""
        if key not in self.row:
            return {}
        values = self.values[self.row[key]].tolist()
        return {name: None if value != value else value for name, value in zip(self.names, values, strict=True)}
