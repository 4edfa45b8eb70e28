"""Linear probes of a label-efficiency curve beside scikit-learn's logistic regression on the same features.

    python benchmarks/probes.py [--images 5000] [--rounds 3]

Both fit each draw at 1, 10 and 100 % of the rows, for every penalty and label, and keep the penalty with the best mean
AUROC on validation rows. Features are random, labels a noisy linear function of them.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from igcl_lightning.data.samples import FeatureBatch, ProbeDraw
from igcl_lightning.modules.linear_probe import PENALTIES, LinearProbe, mean_auroc
from side_by_side import Claim, Record, as_table, faster, times_in_turns

CHANNELS, LABELS, FRACTIONS, SEEDS = 512, 8, (0.01, 0.1, 1.0), 5
CLOSE = 1e-3
"""The largest difference of mean AUROCs that may stand."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    print(as_table(records(**vars(parser.parse_args()))))


def records(images: int = 5000, rounds: int = 3, channels: int = CHANNELS, seeds: int = SEEDS) -> list[Record]:
    torch.set_num_threads(1)
    train, valid, test = (made(count, channels, number) for number, count in enumerate((images, 500, 1000)))
    draws = [drawn(train, fraction, seed) for fraction in FRACTIONS for seed in range(1 if fraction == 1 else seeds)]
    ours = [our_auroc(draw, valid, test) for draw in draws]
    theirs = [auroc_of_scikit_learn(draw, valid, test) for draw in draws]
    apart = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    times = times_in_turns(
        lambda: [our_auroc(draw, valid, test) for draw in draws],
        lambda: [auroc_of_scikit_learn(draw, valid, test) for draw in draws],
        rounds,
        time.process_time,
    )
    claim = Claim(
        f"probes at 1, 10 and 100 % of {images:,} rows, {len(draws)} draws, {LABELS} labels, {len(PENALTIES)} C",
        "scikit-learn's LogisticRegression, the same choices",
        "times faster",
        10,
    )
    note = (
        f"{min(own for own, _ in times):.1f} s; AUROC equal to {apart:.0e}, {'as' if apart < CLOSE else 'NOT as'} asked"
    )
    return [claim.record(faster(times), note)]


def made(count: int, channels: int, seed: int) -> FeatureBatch:
    """Features that tell labels by a linear score with noise; a fifth of the rows have each label."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(channels, LABELS, generator=torch.Generator().manual_seed(100))
    feature = torch.randn(count, channels, generator=generator)
    score = feature @ truth / channels**0.5 + torch.randn(count, LABELS, generator=generator)
    target = (score > score.quantile(0.8, dim=0)).float()
    return FeatureBatch(feature, target, torch.arange(count))


def drawn(batch: FeatureBatch, fraction: float, seed: int) -> FeatureBatch:
    order = torch.randperm(len(batch.row), generator=torch.Generator().manual_seed(seed))
    return FeatureBatch(*(field[order[: round(fraction * len(order))]] for field in batch))


def our_auroc(draw: FeatureBatch, valid: FeatureBatch, test: FeatureBatch) -> float:
    weight, bias, _, _ = LinearProbe(in_channels=draw.feature.shape[1]).fit_draw(ProbeDraw(draw, valid, 0))
    return mean_auroc(test.feature.double() @ weight.T + bias, test.target)


def auroc_of_scikit_learn(draw: FeatureBatch, valid: FeatureBatch, test: FeatureBatch) -> float:
    scaler = StandardScaler().fit(draw.feature.double().numpy())
    train, held_out, last = (scaler.transform(each.feature.double().numpy()) for each in (draw, valid, test))
    best, chosen = -1.0, np.zeros((len(last), LABELS))
    labels = [label for label in range(LABELS) if len(draw.target[:, label].unique()) == 2]
    for penalty in PENALTIES:
        scores = {part: np.zeros((len(rows), LABELS)) for part, rows in (("valid", held_out), ("test", last))}
        for label in labels:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = LogisticRegression(C=penalty, max_iter=2000, tol=1e-6).fit(train, draw.target[:, label].numpy())
            scores["valid"][:, label] = model.decision_function(held_out)
            scores["test"][:, label] = model.decision_function(last)
        value = np.mean([roc_auc_score(valid.target[:, label], scores["valid"][:, label]) for label in range(LABELS)])
        if value > best:
            best, chosen = float(value), scores["test"]
    return float(np.mean([roc_auc_score(test.target[:, label], chosen[:, label]) for label in range(LABELS)]))


if __name__ == "__main__":
    main()
