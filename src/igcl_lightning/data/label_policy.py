"""Labels of a data set, and the policy on uncertain and blank ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from igcl_lightning.closing import write_note
from igcl_lightning.data.sources.checks import refuse_cells, require_choice
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.texts import comma_separated

CHEXPERT_LABELS: tuple[str, ...] = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
"""Labels of CheXpert, MIMIC-CXR and CheXpert Plus, in CheXpert's order; the order of their tables differs."""

NIH_LABELS: tuple[str, ...] = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
"""The 14 findings of NIH ChestX-ray14, also those of Open-i's gold table."""

RESERVED = ("mean", "labels")
"""Names that logs and results give to the mean over labels and to their number; no label may have them."""

UNCERTAIN: Mapping[str, float] = {"ignore": np.nan, "positive": 1.0, "negative": 0.0}
"""Value of the label -1 by policy: unknown (U-Ignore), 1 (U-Ones), 0 (U-Zeros)."""

PER_LABEL: Mapping[str, str] = {
    **dict.fromkeys(("Atelectasis", "Edema", "Pleural Effusion"), "positive"),
    **dict.fromkeys(("Cardiomegaly", "Consolidation"), "negative"),
}
"""The policy "per-label", which GLoRIA and MGCA use for the five labels of the CheXpert competition."""

BLANK = ("missing", "negative", "no-finding")
"""Value of a blank label: unknown; 0; or 0 if No Finding is 1 and unknown otherwise."""

WORDS: Mapping[str, float] = {
    **dict.fromkeys(("true", "t", "yes", "y", "positive", "pos", "present"), 1.0),
    **dict.fromkeys(("false", "f", "no", "n", "negative", "neg", "absent"), 0.0),
    **dict.fromkeys(("uncertain", "equivocal", "possible"), -1.0),
    "unknown": np.nan,
}
"""Value of a label written as a word, in lower case."""

LABEL_ADVICE = ", nor a word such as yes; a column of names of labels needs --label-separator"
_DECIMAL_COMMA = re.compile(r"(-?[01]),0+")

MOST_LABELS = 1000
"""Labels that a column of lists may have; one of sentences has more."""

NO_FINDING, SUPPORT_DEVICES = "No Finding", "Support Devices"


@dataclass(frozen=True)
class LabelPolicy:
    """How the values 1, 0, -1 (uncertain) and blank become 1, 0 and unknown. `vars` are the manifest's entries.

    Attributes:
        uncertain: policy for -1 of labels that are not in `uncertain_by_label`, one of `UNCERTAIN`.
        uncertain_by_label: policy for -1 by label.
        blank: policy for blank cells, one of `BLANK`.

    Raises:
        IgclError: unknown policy.
    """

    uncertain: str = "ignore"
    uncertain_by_label: Mapping[str, str] = field(default_factory=dict)
    blank: str = "missing"

    def __post_init__(self) -> None:
        for word in (self.uncertain, *self.uncertain_by_label.values()):
            if word not in UNCERTAIN:
                known = f"{', '.join(UNCERTAIN)}, per-label, or pairs LABEL=POLICY,..."
                raise IgclError(f"--uncertain: {word!r} is not one of {known}{suggestion(word, UNCERTAIN)}")
        require_choice("--blank", self.blank, BLANK)

    @classmethod
    def parse(cls, uncertain: str, blank: str = "missing") -> LabelPolicy:
        """Return the policy of the options `--uncertain` and `--blank`.

        `uncertain` is one of `UNCERTAIN`, "per-label", or pairs such as "Edema=positive,Fracture=ignore"; raises
        `IgclError` for anything else.
        """
        if uncertain == "per-label":
            return cls(uncertain_by_label=PER_LABEL, blank=blank)
        if "=" not in uncertain:
            return cls(uncertain=uncertain, blank=blank)
        pairs = [pair.partition("=") for pair in comma_separated(uncertain)]
        for label, equals, _ in pairs:
            if not equals:
                raise IgclError(f"--uncertain: {label.strip()!r} in {uncertain!r} is not a pair LABEL=POLICY")
        return cls(uncertain_by_label={label.strip(): word.strip() for label, _, word in pairs}, blank=blank)

    def of_table(self, path: Path, frame: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
        """Return the labels of each row of a table, float32: 1, 0, and nan for unknown.

        Args:
            path: path of the table, for the message.
            frame: texts or numbers, None where blank; the row of index i is row i + 2 of the file.
            labels: names of the columns.

        Raises:
            IgclError: a cell is not 1, 0, -1, one of `WORDS` or blank, or the policy names or needs a label that does
                not exist.
        """
        self._check(labels)
        known: dict[str, pd.Series] = {}
        words: dict[str, float] = {}
        healthy = _values(path, frame[NO_FINDING])[0] == 1 if NO_FINDING in labels else False
        for label in labels:
            cells = frame[label]
            values, found = _values(path, cells)
            words |= found
            absent = self.blank == "negative" or (self.blank == "no-finding" and label != SUPPORT_DEVICES) & healthy
            values = values.mask(values == -1, UNCERTAIN[self.uncertain_by_label.get(label, self.uncertain)])
            known[label] = values.mask(cells.isna() & absent, 0.0)
        if words:
            write_note(f"{path}: labels: {_reading(words)}")
        return pd.DataFrame(known, index=frame.index, dtype=np.float32)

    def of_lists(self, path: Path, cells: pd.Series, separator: str) -> pd.DataFrame:
        """Return the labels of a column that lists those of a row, such as "Edema|Effusion", as `of_table` does.

        A label that a row does not list is 0. A blank cell is unknown, or 0 if blank labels are negative. Labels that
        differ in case only are one.

        Args:
            path: path of the table, for the message.
            cells: the column.
            separator: text between labels.

        Raises:
            IgclError: there are no labels or more than `MOST_LABELS`, or the policy names a label that does not exist.
        """
        lists = [_listed(cell, separator) for cell in cells]
        spelt = {label.casefold(): label for label in sorted({label for labels in lists for label in labels})[::-1]}
        if not 0 < len(spelt) <= MOST_LABELS:
            raise IgclError(f"{path}: column {cells.name!r} lists {len(spelt):,} labels between {separator!r}")
        self._check([*spelt.values()])
        sets = [{label.casefold() for label in labels} for labels in lists]
        known = {spelt[key]: [float(key in labels) for labels in sets] for key in sorted(spelt)}
        values = pd.DataFrame(known, index=cells.index, dtype=np.float32)
        return values if self.blank == "negative" else values.mask(cells.isna())

    def _check(self, labels: Sequence[str]) -> None:
        named = {} if self.uncertain_by_label is PER_LABEL else self.uncertain_by_label
        for label in named:
            if label not in labels:
                there = f"there are {', '.join(labels) or 'none'}{suggestion(label, labels)}"
                raise IgclError(f"--uncertain: no label {label!r}; {there}")
        if self.blank == "no-finding" and NO_FINDING not in labels:
            raise IgclError(f"--blank no-finding: there is no label {NO_FINDING!r}")


def _values(path: Path, cells: pd.Series) -> tuple[pd.Series, dict[str, float]]:
    """Return the numbers of a label's cells, nan where blank, and the words among them with their values."""
    values = pd.to_numeric(cells, errors="coerce").astype(float)
    left = cells[cells.notna() & values.isna()].astype(str)
    words = {word: value for word in left.unique() if (value := _word(word)) is not None}
    values = values.fillna(left.map(words).astype(float))
    wrong = cells.notna() & ~values.isin((1, 0, -1)) & ~cells.isin(words)
    refuse_cells(path, cells, wrong, f"is not 1, 0, -1 or blank{LABEL_ADVICE}")
    return values, words


def _word(text: str) -> float | None:
    """Return the value of a word, or of a number with a decimal comma."""
    number = _DECIMAL_COMMA.fullmatch(text)
    return float(number[1]) if number else WORDS.get(text.lower())


def _reading(words: Mapping[str, float]) -> str:
    """Return how words are read, such as "yes, true as 1; no as 0"."""
    names = {1.0: "1", 0.0: "0", -1.0: "-1"}
    said: dict[str, list[str]] = {}
    for word, value in words.items():
        said.setdefault(names.get(value, "unknown"), []).append(word)
    return "; ".join(f"{', '.join(found)} read as {value}" for value, found in said.items())


def _listed(cell: str | None, separator: str) -> list[str]:
    """Return the labels of a cell."""
    return [label for part in (cell or "").split(separator) if (label := part.strip())]
