"""Made-up answers of readers and scores of models, in the layout of the public CheXpert test labels."""

import numpy as np
import pandas as pd

FIVE = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
OTHERS = ["No Finding", "Lung Lesion", "Lung Opacity"]
TRUTH, READER = "groundtruth.csv", "radiologists/benchmark_radiologists/r1.csv"
MODEL = "example_models/predictions/standard/m1_predictions.csv"


def write_tree(root, studies=40, readers=("r1", "r2"), models=("m1",), labels=(*FIVE, *OTHERS), ids=None, seed=0):
    """Write the tree, every file with columns and rows in an order of its own; return its tables by file."""
    rng = np.random.default_rng(seed)
    ids = ids or [f"CheXpert-v1.0/test/patient{90000 + number // 2}/study{1 + number % 2}" for number in range(studies)]
    target = pd.DataFrame(rng.random((len(ids), len(labels))) < 0.4, columns=list(labels)).astype(int)
    tables = {TRUTH: target.assign(Study=ids)}
    for reader in readers:
        wrong = rng.random(target.shape) < rng.uniform(0.1, 0.3)
        tables[READER.replace("r1", reader)] = (target ^ wrong).astype(int).assign(Study=ids)
    for model in models:
        score = 0.6 * target + rng.random(target.shape).round(2) + 0.1
        tables[MODEL.replace("m1", model)] = score[list(labels[:5])].assign(Study=ids)
    for number, (name, frame) in enumerate(tables.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shuffled(frame, number).to_csv(path, index=False)
    return tables


def shuffled(frame, seed):
    """Return a table with its rows and its columns in another order."""
    rng = np.random.default_rng(seed)
    return frame.iloc[rng.permutation(len(frame)), rng.permutation(frame.shape[1])]
