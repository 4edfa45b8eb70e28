"""Intervals of AUROCs over patients beside a bootstrap by scikit-learn.

    python benchmarks/intervals.py [--rounds 5]

Ours follows from the influence of each patient, without resampling; the bootstrap draws 1,000 resamples of patients.
Both give an interval for each of five labels and 500 studies. The work differs: docs/statistics.md has how often each
holds the truth.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.metrics import roc_auc_score

from igcl_lightning.evaluation.intervals import interval
from igcl_lightning.metrics.influence import auroc_estimate
from side_by_side import Claim, Record, as_table, faster, times_in_turns

STUDIES, LABELS, RESAMPLES = 500, 5, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    print(as_table(records(**vars(parser.parse_args()))))


def records(rounds: int = 5, resamples: int = RESAMPLES) -> list[Record]:
    rng = np.random.default_rng(0)
    target = (rng.random((STUDIES, LABELS)) < 0.2).astype(int)
    score = rng.normal(size=(STUDIES, LABELS)) + target
    patient = np.arange(STUDIES)
    times = times_in_turns(
        lambda: by_influence(score, target, patient), lambda: by_bootstrap(score, target, resamples), rounds
    )
    claim = Claim(
        f"95 % intervals of the AUROC, {LABELS} labels, {STUDIES} studies",
        f"{resamples:,} resamples of scikit-learn's roc_auc_score",
        "times faster",
        300,
    )
    return [claim.record(faster(times), f"{1e3 * min(own for own, _ in times):.1f} ms; without resampling")]


def by_influence(score: np.ndarray, target: np.ndarray, patient: np.ndarray) -> list:
    return [
        interval(auroc_estimate(score[:, label], target[:, label], patient, STUDIES), scale="unit")
        for label in range(LABELS)
    ]


def by_bootstrap(score: np.ndarray, target: np.ndarray, resamples: int) -> list:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, STUDIES, STUDIES) for _ in range(resamples)]
    return [
        np.quantile([roc_auc_score(target[row, label], score[row, label]) for row in rows], [0.025, 0.975])
        for label in range(LABELS)
    ]


if __name__ == "__main__":
    main()
