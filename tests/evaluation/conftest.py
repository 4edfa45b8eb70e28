"""Predictions of known quality, with several rows per patient, a label without positives and unknown targets."""

import numpy as np
import pandas as pd
import pytest

LABELS = ("Atelectasis", "Edema", "Hernia")


@pytest.fixture(name="simulated", scope="session")
def simulated_factory():
    return simulated


def simulated(methods=None, settings=((0.01, None), (1.0, None), (None, 5)), seeds=2, rows=120, labels=LABELS):
    """Return predictions; `methods` gives how far the positives' scores lie above the negatives'.

    Some rows are hard for every run, as with real images.
    """
    generator = np.random.default_rng(0)
    patient = np.array([f"p{number}" for number in generator.integers(0, rows // 3, rows)])
    target = {label: (generator.random(rows) < 0.3) * float(label != "Hernia") for label in labels}
    target[labels[0]][:7] = np.nan
    hardness = {label: generator.normal(size=rows) for label in labels}
    name = [f"r{index}" for index in range(rows)]
    return pd.concat(
        pd.DataFrame(
            {
                "method": method,
                "fraction": fraction,
                "shots": shots,
                "row": name,
                "study": name,
                "patient": patient,
                "split": "test",
                "label": label,
                "target": target[label],
                "score": hardness[label] + 0.4 * generator.normal(size=rows) + distance * np.nan_to_num(target[label]),
                "seed": seed,
            }
        )
        for method, distance in (methods or {"igcl": 2.0, "random": 0.5}).items()
        for fraction, shots in settings
        for seed in range(seeds)
        for label in labels
    )
