"""Whether labels can be told without the finding: by a small mark at the border of the image, or by a column.

A mark that a model can read instead of the finding is found from the images alone: of the patches along the border,
the one that tells a label best is chosen on some patients and judged on others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from igcl_lightning.evaluation.intervals import FEW_PATIENTS, Interval, holm, interval, p_value
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.results import Record, make_record
from igcl_lightning.metrics.border import KINDS, MIRRORED, place_name
from igcl_lightning.metrics.influence import Estimate, auroc_estimate

FOLDS = 5
"""Parts of the patients; in each, labels are told by what was chosen on the others."""

STRONG = 0.75
"""AUROC that the lower end of an interval reaches if a patch alone tells a label too well."""

ASSOCIATED = 0.6
"""The same of what is called an association."""

CHANGE = 0.1
"""Least loss of AUROC from training to test rows that is an alarm, if it is also more than chance."""

CERTAIN = 0.001

MAX_LEVELS = 20
"""Most different values of a column that is asked."""

MOST_SHOWN = 5
"""Most associations that are written out."""

AUDIT = "audit"
"""What stands for protocol and method in the records."""

UNKNOWN = "unknown"
COLUMN = "column"

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AuditRows:
    """N rows of a store.

    Attributes:
        labels: names of the L labels.
        target: 1, 0 or NaN for unknown, [L, N].
        patient: number of each row's patient, int [N].
        test: whether each row is of the split "test", bool [N]; the others are those of training and validation.
        view: projection of each row, [N]; patches are compared among rows of one view.
    """

    labels: Sequence[str]
    target: Floats
    patient: NDArray[np.intp]
    test: NDArray[np.bool_]
    view: NDArray[np.object_]

    @property
    def too_few(self) -> list[str]:
        """Labels of which one class has too few patients among the rows of training and validation."""
        few = [self.smallest(target, ~self.test & ~np.isnan(target)) < FEW_PATIENTS for target in self.target]
        return [label for label, is_few in zip(self.labels, few, strict=True) if is_few]

    @property
    def patients(self) -> int:
        """Number of patients, P."""
        return int(self.patient.max(initial=-1)) + 1

    def smallest(self, target: Floats, kept: NDArray[np.bool_]) -> int:
        """Return the number of patients of the smaller class of targets [N] among some rows, bool [N]."""
        return min(len(np.unique(self.patient[kept & (target == kind)])) for kind in (0, 1))


@dataclass(frozen=True, eq=False)
class Cue:
    """By what a label can be told, and how well.

    Attributes:
        label: the label.
        by: place of a patch, such as "lower left corner", or name of a column.
        kind: "bright" or "dark", or `COLUMN`.
        train, train_interval: AUROC on rows of training and validation, each judged by what other patients tell.
        test, test_interval: that on test rows; None where a class has too few patients.
        p_change: p-value of the difference of the two, corrected for the number of cues (Holm).
        score: scores of the rows by what all rows of training and validation tell, [N].
    """

    label: str
    by: str
    kind: str
    train: float
    train_interval: Interval
    test: float | None
    test_interval: Interval
    p_change: float | None
    score: Floats = field(repr=False)

    @property
    def associated(self) -> bool:
        """Whether the label can be told better than by chance, by an amount that matters."""
        return _end(self.train_interval) >= ASSOCIATED

    @property
    def changes(self) -> bool:
        """Whether the label can be told in training and validation rows, and less well in test rows."""
        lost = self.test is not None and self.train - max(self.test, 0.5) >= CHANGE
        return self.associated and lost and self.p_change is not None and self.p_change < CERTAIN

    @property
    def alarm(self) -> bool:
        """Whether a model may read this instead of the finding."""
        return self.changes or (self.kind != COLUMN and _end(self.train_interval) >= STRONG)

    def words(self) -> str:
        """Return what was found, in one line."""
        here = f"AUROC {self.train:.2f}{_ends(self.train_interval)} on training and validation rows"
        there = "" if self.test is None else f", {self.test:.2f}{_ends(self.test_interval)} on test rows"
        what = f"the column {self.by}" if self.kind == COLUMN else f"something small and {self.kind}, {self.by}"
        return f"{self.label} can be told by {what}: {here}{there}"

    def brief(self) -> str:
        """Return the same in a few words."""
        there = "" if self.test is None else f", {self.test:.2f} in test"
        return f"{self.label} by {self.by} {self.train:.2f}{there}"


def _ends(ends: Interval) -> str:
    return "" if ends[0] is None else f" [{ends[0]:.2f}, {ends[1]:.2f}]"


def _end(ends: Interval) -> float:
    return ends[0] if ends[0] is not None else 0.0


def patch_cues(marks: NDArray[np.uint8], rows: AuditRows) -> list[Cue]:
    """Return the patch, or the two mirrored ones, that tells each label best.

    Args:
        marks: what stands out in each patch, [N, 2, W] (`metrics.border.border_marks`).
        rows: the rows; labels with fewer than `FEW_PATIENTS` patients of one class are left out.
    """
    left = np.flatnonzero(np.arange(len(MIRRORED)) < MIRRORED)
    both = np.maximum(marks[:, :, left], marks[:, :, MIRRORED[left]])
    values = np.hstack([marks.reshape(len(marks), -1), both.reshape(len(marks), -1)])
    places = [(kind, place_name(patch, both=False)) for kind in KINDS for patch in range(len(MIRRORED))]
    places += [(kind, place_name(patch, both=True)) for kind in KINDS for patch in left.tolist()]
    share = (rankdata(values, axis=0) - 0.5) / len(values)

    def told(learn: NDArray[np.bool_], target: Floats) -> Told:
        apart = np.zeros(share.shape[1])
        for weight, own in _within_views(target, rows.view, learn):
            apart += weight * (share[own & (target == 1)].mean(axis=0) - share[own & (target == 0)].mean(axis=0))
        best = int(np.abs(apart).argmax())
        kind, place = places[best]
        return Told(place, kind, np.sign(apart[best]) * share[:, best])

    return corrected(list(_cues(rows, told)))


def column_cues(columns: Mapping[str, Sequence[str | None]], rows: AuditRows) -> list[Cue]:
    """Return what each column of a store tells of each label.

    Args:
        columns: N values by name; those with more than `MAX_LEVELS` different values, or only one, are left out.
        rows: the rows; labels with fewer than `FEW_PATIENTS` patients of one class are left out.
    """
    found: list[Cue] = []
    any_view = replace(rows, view=np.full(len(rows.view), None))
    for name, values in columns.items():
        levels, level = np.unique([value or UNKNOWN for value in values], return_inverse=True)
        if not 1 < len(levels) <= MAX_LEVELS:
            continue

        def told(learn: NDArray[np.bool_], target: Floats, name: str = name, level: NDArray[np.intp] = level) -> Told:
            base = target[learn].mean()
            number = np.bincount(level[learn], minlength=level.max() + 1)
            positive = np.bincount(level[learn], target[learn], minlength=level.max() + 1)
            return Told(name, COLUMN, ((positive + base) / (number + 1) - base)[level])

        found += _cues(any_view, told)
    return corrected(found)


class Told(NamedTuple):
    """By what a label is told (see `Cue`), and the scores of all rows, [N]."""

    by: str
    kind: str
    score: Floats


def _cues(rows: AuditRows, told: Callable[[NDArray[np.bool_], Floats], Told]) -> Iterator[Cue]:
    """Yield a cue for each label that can be judged; `told` learns from some rows, bool [N], with targets [N]."""
    fold = np.random.default_rng(0).permutation(rows.patients)[rows.patient] % FOLDS
    for label, target in zip(rows.labels, rows.target, strict=True):
        known = ~np.isnan(target)
        fit = known & ~rows.test
        if (few := rows.smallest(target, fit)) < FEW_PATIENTS:
            continue
        held_out = np.zeros(len(target))
        for part in range(FOLDS):
            held_out[fold == part] = told(fit & (fold != part), target).score[fold == part]
        whole, test = told(fit, target), known & rows.test
        train = _estimate(held_out, target, rows, fit)
        later, few_later = _estimate(whole.score, target, rows, test), rows.smallest(target, test)
        enough = few_later >= FEW_PATIENTS
        yield Cue(
            *(label, whole.by, whole.kind, float(train[0]), interval(train, few, "unit")),
            test=float(later[0]) if enough else None,
            test_interval=interval(later, few_later, "unit") if enough else (None, None),
            p_change=_p_loss(train, later, min(few, few_later)) if enough else None,
            score=whole.score,
        )


def _estimate(score: Floats, target: Floats, rows: AuditRows, kept: NDArray[np.bool_]) -> Estimate:
    """Return the mean over views of the AUROC of their rows, with the influence of each patient, [1 + P]."""
    parts = [
        weight * auroc_estimate(score[own], target[own], rows.patient[own], rows.patients)
        for weight, own in _within_views(target, rows.view, kept)
    ]
    return np.sum(parts, axis=0) if parts else np.full(1 + rows.patients, np.nan)


def _within_views(
    target: Floats, view: NDArray[np.object_], kept: NDArray[np.bool_]
) -> list[tuple[float, NDArray[np.bool_]]]:
    """Return the weight of each view with both classes (van Elteren 1960, n1 n0 / (n1 + n0)), and its rows."""
    own = [kept & (view == name) for name in dict.fromkeys(view[kept])]
    counts = [(int((target[each] == 1).sum()), int((target[each] == 0).sum())) for each in own]
    weights = [one * other / (one + other) for one, other in counts]
    return [(weight / sum(weights), each) for weight, each in zip(weights, own, strict=True) if weight]


def _p_loss(train: Estimate, test: Estimate, smallest: int) -> float | None:
    """Return the p-value of what is lost; below 0.5, test rows tell as little as at 0.5."""
    lost = train - test
    lost[0] = train[0] - max(test[0], 0.5)
    return p_value(lost, smallest)


def strongest_first(cues: Iterable[Cue]) -> tuple[list[Cue], list[Cue]]:
    """Return the alarms among some cues, and the associations that are none, each by AUROC."""
    ordered = sorted(cues, key=lambda cue: -cue.train)
    return [cue for cue in ordered if cue.alarm], [cue for cue in ordered if cue.associated and not cue.alarm]


def format_cues(patches: Sequence[Cue], columns: Sequence[Cue], few: Sequence[str] = ()) -> str:
    """Return the alarms a line each, the strongest associations with columns, and labels with too few patients."""
    by_patch, _ = strongest_first(patches)
    by_column, others = strongest_first(columns)
    lines = [f"warning: {cue.words()}" for cue in [*by_patch, *by_column]]
    if patches and not by_patch:
        most = max(patches, key=lambda cue: cue.train)
        lines.append(f"no mark at the border tells one of {len(patches)} labels; most: {most.brief()}")
    if others:
        lines.append(f"AUROC of a label by a column: {'; '.join(cue.brief() for cue in others[:MOST_SHOWN])}")
    lines += [f"too few patients to say: {', '.join(few)}"] * bool(few)
    return "\n".join(lines)


def cue_records(cues: Sequence[Cue], rows: AuditRows, store: str) -> list[Record]:
    """Return two records of each alarm and association, on training and validation rows ("train") and on test rows.

    The group is the place of a patch (metric "shortcut_patch"), or the name of a column ("shortcut_column").
    """
    records = []
    for cue in cues:
        if not (cue.alarm or cue.associated):
            continue
        target = rows.target[list(rows.labels).index(cue.label)]
        kind = "column" if cue.kind == COLUMN else "patch"
        about = {"protocol": AUDIT, "store": store, "label": cue.label, "group": cue.by}
        for split, value, ends in (("train", cue.train, cue.train_interval), ("test", cue.test, cue.test_interval)):
            kept = (rows.test == (split == "test")) & ~np.isnan(target)
            counts = {
                "n": int(kept.sum()),
                "positives": int((target[kept] == 1).sum()),
                "patients": len(np.unique(rows.patient[kept])),
            }
            if value is not None:
                p = cue.p_change if split == "test" else None
                named = {"split": split, "metric": f"shortcut_{kind}", "p_holm": p}
                records.append(make_record(Run(AUDIT, None, None, None), value, ends, **about, **named, **counts))
    return records


def corrected(cues: Sequence[Cue]) -> list[Cue]:
    """Return cues with p-values corrected for their number."""
    return [replace(cue, p_change=p) for cue, p in zip(cues, holm([cue.p_change for cue in cues]), strict=True)]
