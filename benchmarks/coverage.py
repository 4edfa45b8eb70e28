"""Coverage of 95 % intervals in simulations of patients with one or several images: the tables of docs/statistics.md.

    python benchmarks/coverage.py                  # about an hour on one core; goes on where it was interrupted
    python benchmarks/coverage.py --report         # writes the tables of what is simulated, and nothing else

Images of a patient share half of the variance of their scores, and their labels are alike (an intraclass correlation of
one half). Scores are normal in each class, so that every statistic has a known true value.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm

from igcl_lightning.atomic import replacing
from igcl_lightning.evaluation.intervals import FEW_PATIENTS, interval, widening
from igcl_lightning.evaluation.label_savings import savings_in
from igcl_lightning.evaluation.predictions import Run, ScoreTable
from igcl_lightning.evaluation.results import mean_over_labels
from igcl_lightning.metrics.clinical import auroc, patient_bootstrap_weights
from igcl_lightning.metrics.influence import auroc_estimate, average_precision_estimate, jackknife_estimate
from igcl_lightning.metrics.operating import OPERATING, SCALE, patient_counts

ROOT = Path(__file__).resolve().parents[1]
SIMULATIONS, RESAMPLES, LABELS, RUNS = 1000, 400, 5, 10
WORSE = 0.1  # by how much the AUROC of the second model is lower
FRACTIONS, CURVE, OURS_AT_1 = (
    (0.01, 0.1, 1.0),
    (-0.15, -0.08, 0.0),
    -0.05,
)  # AUROCs of label savings, from that of the cell
Z = 1.96


class Cell(NamedTuple):
    """What is simulated: patients, share of positive images, true AUROC, images of each patient."""

    patients: int
    prevalence: float
    auroc: float
    images: int

    @property
    def name(self) -> str:
        return "-".join(f"{value:g}" for value in self)


CELLS = [Cell(*values) for values in product((30, 60, 400), (0.02, 0.05, 0.2), (0.7, 0.9), (1, 3))]
CELLS += [Cell(400, prevalence, 0.97, images) for prevalence in (0.02, 0.05) for images in (1, 3)]


class Drawn(NamedTuple):
    """One sample: number of each row's patient [N], labels [L, N], and what scores are made of, [L, N] each."""

    cell: Cell
    patient: NDArray[np.intp]
    target: NDArray[np.float64]
    shared: NDArray[np.float64]  # what is hard for all models
    generator: np.random.Generator

    def scores(self, area: float, common: float = 0.5) -> NDArray[np.float64]:
        """Return the scores of another model with an AUROC; all models share `common` of their variance."""
        own = noise(self.cell, len(self.target), self.generator)
        distance = np.sqrt(2) * norm.ppf(area)
        return distance * self.target + np.sqrt(common) * self.shared + np.sqrt(1 - common) * own

    def smallest(self, label: int) -> int:
        """Return the number of patients of the smaller class."""
        return min(len(np.unique(self.patient[self.target[label] == value])) for value in (0, 1))


def noise(cell: Cell, labels: int, generator: np.random.Generator) -> NDArray[np.float64]:
    of_patient = generator.standard_normal((labels, cell.patients, 1))
    of_image = generator.standard_normal((labels, cell.patients, cell.images))
    return ((of_patient + of_image) / np.sqrt(2)).reshape(labels, -1)


def draw(cell: Cell, generator: np.random.Generator) -> Drawn:
    patient = np.repeat(np.arange(cell.patients), cell.images)
    likely = generator.beta(cell.prevalence, 1 - cell.prevalence, (LABELS, cell.patients))
    target = (generator.random((LABELS, len(patient))) < likely[:, patient]).astype(float)
    return Drawn(cell, patient, target, noise(cell, LABELS, generator), generator)


def truths(cell: Cell) -> dict[str, float]:
    """Return the true values of the statistics at the threshold midway between the classes."""
    distance, prevalence = np.sqrt(2) * norm.ppf(cell.auroc), cell.prevalence
    right = norm.cdf(distance / 2)
    counts = np.array(
        [prevalence * right, (1 - prevalence) * (1 - right), prevalence * (1 - right), (1 - prevalence) * right]
    )

    def precision(score: float) -> float:
        found, wrong = prevalence * norm.sf(score - distance), (1 - prevalence) * norm.sf(score)
        return found / (found + wrong) * norm.pdf(score - distance)

    return {name: float(statistic(counts)) for name, statistic in OPERATING.items()} | {
        "AUROC": cell.auroc,
        "AUROC difference": WORSE,
        "mean AUROC": cell.auroc,
        "mean AUROC difference": WORSE,
        "average precision": quad(precision, -8, 8 + distance)[0],
        "labels saved": true_savings(),
    }


def true_savings() -> float:
    return float(10 ** np.interp(OURS_AT_1, CURVE, np.log10(FRACTIONS)) / FRACTIONS[0])


Interval = tuple[float | None, float | None]
Found = Iterator[tuple[str, str, int, Interval]]
"""Statistic, method, patients of the smaller class, interval."""


def intervals(sample: Drawn) -> Found:
    """Yield the intervals of one sample by all methods."""
    patients, patient = sample.cell.patients, sample.patient
    first, second = sample.scores(sample.cell.auroc), sample.scores(sample.cell.auroc - WORSE)
    known = [label for label in range(LABELS) if sample.smallest(label)]
    if not known:
        return
    sizes = {label: sample.smallest(label) for label in known}
    estimates = [
        {label: auroc_estimate(score[label], sample.target[label], patient, patients) for label in known}
        for score in (first, second)
    ]
    weights = patient_bootstrap_weights(patient, RESAMPLES, int(sample.generator.integers(2**31)))
    drawn = [
        {label: auroc(score[label], sample.target[label], weights) for label in known} for score in (first, second)
    ]

    label = known[0]
    yield from of_auroc(sample, label, first[label], estimates[0][label], drawn[0][label])
    yield from of_pooled_runs(sample, label)
    size, apart = sizes[label], estimates[0][label] - estimates[1][label]
    yield "AUROC difference", "influence", size, interval(apart, size)
    yield "AUROC difference", "clustered DeLong", size, wald(apart)
    yield "AUROC difference", "percentile", size, percentile(drawn[0][label] - drawn[1][label])

    fewest = min(sizes.values())
    wider, used = np.array([widening(size) for size in sizes.values()]), np.ones(len(known), dtype=bool)
    table = [np.stack([each[label] for label in known]) for each in estimates]
    yield "mean AUROC", "influence", fewest, interval(mean_over_labels(table[0], wider, used), None, "unit")
    yield "mean AUROC", "percentile", fewest, percentile(np.mean([drawn[0][label] for label in known], axis=0))
    yield "mean AUROC difference", "influence", fewest, interval(mean_over_labels(table[0] - table[1], wider, used))
    between = np.mean([drawn[0][label] - drawn[1][label] for label in known], axis=0)
    yield "mean AUROC difference", "percentile", fewest, percentile(between)
    yield from of_answers(sample, label, first[label], weights)
    yield from of_precision(sample, label, first[label])
    yield from of_savings(sample, label)


def of_auroc(sample: Drawn, label: int, score, estimate, drawn) -> Found:
    cell, target, patient, size = sample.cell, sample.target[label], sample.patient, sample.smallest(label)
    yield "AUROC", "influence", size, interval(estimate, size, "unit")
    yield "AUROC", "clustered DeLong", size, wald(estimate)
    rows = np.arange(len(target))
    yield "AUROC", "DeLong of rows", size, wald(auroc_estimate(score, target, rows, len(rows)))
    yield "AUROC", "percentile", size, percentile(drawn)
    yield "AUROC", "logit bootstrap", size, logit_bootstrap(estimate[0], drawn)
    leave_one_out = auroc(score, target, 1 - (patient[None] == np.arange(cell.patients)[:, None]).astype(int))
    yield "AUROC", "BCa", size, bca(estimate[0], drawn, leave_one_out)
    of_rows = patient_bootstrap_weights(rows, RESAMPLES, int(sample.generator.integers(2**31)))
    yield "AUROC", "percentile of rows", size, percentile(auroc(score, target, of_rows))


def of_pooled_runs(sample: Drawn, label: int) -> Found:
    """Yield the interval of runs that are pooled as if each had rows of its own."""
    scores = [sample.scores(sample.cell.auroc, 0.8)[label] for _ in range(RUNS)]
    target = np.tile(sample.target[label], RUNS)
    rows = np.arange(len(target))
    pooled = auroc_estimate(np.concatenate(scores), target, rows, len(rows))
    yield "AUROC", f"{RUNS} pooled runs", sample.smallest(label), wald(pooled)


def of_answers(sample: Drawn, label: int, score, weights) -> Found:
    patients, target = sample.cell.patients, sample.target[label]
    answer = score >= np.sqrt(2) * norm.ppf(sample.cell.auroc) / 2
    counts = patient_counts(answer, target, sample.patient, patients)
    first_rows = np.arange(patients) * sample.cell.images
    resampled = weights[:, first_rows] @ counts
    with_label, without = (len(np.unique(sample.patient[target == value])) for value in (1, 0))
    sizes = {"sensitivity": with_label, "specificity": without}
    for name, statistic in OPERATING.items():
        size = sizes.get(name, min(with_label, without))
        yield name, "influence", size, interval(jackknife_estimate(statistic, counts), size, SCALE.get(name, "unit"))
        yield name, "percentile", size, percentile(statistic(resampled))


def of_precision(sample: Drawn, label: int, score) -> Found:
    size = sample.smallest(label)
    estimate = average_precision_estimate(score, sample.target[label], sample.patient, sample.cell.patients)
    yield "average precision", "influence", size, interval(estimate, size, "unit")


def of_savings(sample: Drawn, label: int) -> Found:
    area, size = sample.cell.auroc, sample.smallest(label)
    runs = {("other", fraction): area + apart for fraction, apart in zip(FRACTIONS, CURVE, strict=True)}
    runs["ours", FRACTIONS[0]] = area + OURS_AT_1
    scores = {Run(*run, None, 0): sample.scores(each)[[label]] for run, each in runs.items()}
    table = ScoreTable(["label"], sample.patient.astype(object), sample.target[[label]], scores)
    saved = savings_in(table, "ours", "other", FRACTIONS[0])
    yield "labels saved", "influence", size, (saved.ci_low, saved.ci_high)


def wald(estimate) -> Interval:
    half = Z * np.sqrt(estimate[1:] @ estimate[1:])
    return estimate[0] - half, estimate[0] + half


def percentile(drawn) -> Interval:
    defined = drawn[~np.isnan(drawn)]
    return tuple(np.quantile(defined, (0.025, 0.975))) if len(defined) >= 0.8 * len(drawn) else (None, None)


def logit_bootstrap(value: float, drawn) -> Interval:
    defined = drawn[(drawn > 0) & (drawn < 1)]
    if len(defined) < 0.8 * len(drawn) or not 0 < value < 1:
        return None, None
    middle, half = np.log(value / (1 - value)), Z * np.std(np.log(defined / (1 - defined)), ddof=1)
    return tuple(1 / (1 + np.exp(-(middle + sign * half))) for sign in (-1, 1))


def bca(value: float, drawn, leave_one_out) -> Interval:
    """Return the bias-corrected and accelerated interval of Efron (JASA 1987)."""
    defined, apart = drawn[~np.isnan(drawn)], np.nanmean(leave_one_out) - leave_one_out[~np.isnan(leave_one_out)]
    if len(defined) < 0.8 * len(drawn) or not (apart**2).sum():
        return None, None
    share = ((defined < value).mean() + (defined <= value).mean()) / 2
    bias = norm.ppf(np.clip(share, 1e-6, 1 - 1e-6))
    acceleration = (apart**3).sum() / (6 * (apart**2).sum() ** 1.5)
    ends = bias + np.array([-Z, Z])
    return tuple(np.quantile(defined, norm.cdf(bias + ends / (1 - acceleration * ends))))


class Tally:
    """Intervals by statistic, method and group of samples: number, how many hold the truth, widths, none given."""

    def __init__(self, plain: dict[str, list[float]] | None = None) -> None:
        self.counts: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0], plain or {})

    def add(self, statistic: str, method: str, smallest: int, ends: Interval, truth: float) -> None:
        group = "enough" if smallest >= FEW_PATIENTS else "few" if smallest > 1 else "one"
        counted = self.counts[f"{statistic}|{method}|{group}"]
        low, high = ends
        counted[0] += 1
        if low is None or high is None or np.isnan(low):
            counted[2] += 1
        else:
            counted[1] += bool(low <= truth <= high)
            counted[3] += float(high - low)


def simulate(cell: Cell, path: Path, simulations: int) -> None:
    """Simulate the rest of a cell, and save every hundred samples."""
    stands = json.loads(path.read_text()) if path.is_file() else {"done": 0, "counts": {}}
    tally, truth = Tally(stands["counts"]), truths(cell)
    for number in range(stands["done"], simulations):
        sample = draw(cell, np.random.default_rng([CELLS.index(cell), number]))
        for statistic, method, smallest, ends in intervals(sample):
            tally.add(statistic, method, smallest, ends, truth[statistic])
        if (number + 1) % 100 == 0:
            with replacing(path) as temporary:
                temporary.write_text(json.dumps({"done": number + 1, "counts": tally.counts}))


METHODS = (
    *("influence", "clustered DeLong", "DeLong of rows", "percentile", "BCa", "logit bootstrap", "percentile of rows"),
    f"{RUNS} pooled runs",
)
PASSES = 0.93, 0.97
FEWEST = 100
"""Samples that a share is of at least."""


def write_tables(results: dict[Cell, dict]) -> None:
    """Write the tables into docs/statistics.md and what they are made of into docs/results/coverage.json."""
    plain = [{**cell._asdict(), "samples": each["done"], **each["counts"]} for cell, each in results.items()]
    lines = ",\n".join(json.dumps(each) for each in plain)
    (ROOT / "docs" / "results" / "coverage.json").write_text(f"[\n{lines}\n]\n")
    page = ROOT / "docs" / "statistics.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8"), results), encoding="utf-8")


def results_of(plain: list[dict]) -> dict[Cell, dict]:
    """Return the results of cells from docs/results/coverage.json."""
    cells = {Cell(*(each.pop(name) for name in Cell._fields)): each for each in plain}
    return {cell: {"done": each.pop("samples"), "counts": each} for cell, each in cells.items()}


def with_tables(text: str, results: dict[Cell, dict]) -> str:
    """Return a page with the tables between their marks."""
    counts = {cell: each["counts"] for cell, each in results.items()}
    for name, table in {
        "auroc": table_of(counts, [("AUROC", method) for method in METHODS], "enough"),
        "others": table_of(counts, [(statistic, "influence") for statistic in OTHERS], "enough"),
        "percentiles": table_of(counts, [(statistic, "percentile") for statistic in BY_PERCENTILE], "enough"),
        "few": table_of(counts, [("AUROC", method) for method in FEW_METHODS] + FEW_OTHERS, "few"),
    }.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, after = text.index(begin) + len(begin), text.index(end)
        text = text[:before] + table + text[after:]
    return text


OTHERS = {
    "AUROC difference": "AUROC, difference",
    "mean AUROC": f"mean of {LABELS} labels",
    "mean AUROC difference": "mean, difference",
    "average precision": "AP",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
    "mcc": "MCC",
    "labels saved": "labels saved",
}
BY_PERCENTILE = tuple(statistic for statistic in OTHERS if statistic not in ("average precision", "labels saved"))
FEW_METHODS = "influence", "clustered DeLong", "percentile", "BCa", "percentile of rows"
FEW_OTHERS = [(statistic, "influence") for statistic in ("AUROC difference", "mean AUROC", "sensitivity", "f1", "mcc")]


def table_of(results: dict[Cell, dict], columns: list[tuple[str, str]], group: str) -> str:
    """Return a table in Markdown: a row for each cell with `FEWEST` samples of a group, shares that hold the truth."""
    titles = [
        f"{OTHERS.get(statistic, '')} {method if statistic == 'AUROC' else ''}".strip() for statistic, method in columns
    ]
    head = ["patients", "positive", "AUROC", "images", "samples", *titles]
    rows = []
    for cell, counts in results.items():
        found = [counts.get(f"{statistic}|{method}|{group}", [0, 0, 0, 0]) for statistic, method in columns]
        if found[0][0] >= FEWEST:
            about = [f"{cell.patients}", f"{100 * cell.prevalence:g} %", f"{cell.auroc:g}", f"{cell.images}"]
            rows.append([*about, f"{found[0][0]:.0f}", *map(share, found)])
    rows.append(["", "", "", "", "passes", *(passed(results, *column, group) for column in columns)])
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def share(counted: list[float]) -> str:
    """Return the share of intervals that hold the truth, among those that are given; "-" of fewer than `FEWEST`."""
    given = counted[0] - counted[2]
    return f"{counted[1] / given:.3f}".lstrip("0") if given >= FEWEST else "-"


def passed(results: dict[Cell, dict], statistic: str, method: str, group: str) -> str:
    """Return the number of cells whose coverage is within `PASSES`, up to two Monte Carlo errors, and that of all."""
    good = every = 0
    for counts in results.values():
        number, held, none, _ = counts.get(f"{statistic}|{method}|{group}", [0, 0, 0, 0])
        if number - none >= FEWEST:
            covered = held / (number - none)
            error = 2 * np.sqrt(0.95 * 0.05 / (number - none))
            every += 1
            good += bool(PASSES[0] - error <= covered and (covered <= PASSES[1] + error or group == "few"))
    return f"{good} of {every}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "coverage", help="folder of what is simulated")
    parser.add_argument("--simulations", type=int, default=SIMULATIONS, help="samples of each cell, in hundreds")
    parser.add_argument("--report", action="store_true", help="only write the tables")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", category=RuntimeWarning)  # of resamples without one class
    for cell in () if arguments.report else CELLS:
        simulate(cell, arguments.work / f"{cell.name}.json", arguments.simulations)
        print(cell)
    simulated = [cell for cell in CELLS if (arguments.work / f"{cell.name}.json").is_file()]
    write_tables({cell: json.loads((arguments.work / f"{cell.name}.json").read_text()) for cell in simulated})


if __name__ == "__main__":
    main()
