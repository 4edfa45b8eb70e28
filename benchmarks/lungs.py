"""Lungs of real radiographs from encoders that start at ImageNet, at ImageNet and then clinical notes, or at random.

    IGCL_DATA=DIR python benchmarks/lungs.py [--out FOLDER] [--jobs N] [--protocol FILE]

Reads `covid_cxr_notes` (radiographs with notes and masks of both lungs) and `weights` of the folder of real data. Its
validation patients are the test rows here, and a tenth of its training patients those on which the best epoch is
chosen. IGCL starts at ImageNet and contrasts the training images with their notes. All encoders are trained with their
decoders on 1, 10 and 100 % of the masks, in three draws; intervals are over patients.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pandas as pd
import yaml

from igcl_lightning.cli import main

BACKBONE = "tf_efficientnet_lite0"
WEIGHTS = f"weights/{BACKBONE}_imagenet_encoder.safetensors"
PROTOCOL = {
    "protocol": "segmentation",
    "labels": ["lungs"],
    "fractions": [0.01, 0.1, 1.0],
    "epochs": [60, 40, 12],
    "draws": 3,
    "frozen": False,
    "decoder": {"channels": [64, 48, 32, 24, 16]},
    "learning_rate": 0.001,
    "batch_size": 8,
}


def prepare(data: Path, out: Path) -> Path:
    """Prepare the store with the splits of this benchmark, and return its path."""
    source, table = data / "covid_cxr_notes", out / "notes"
    table.mkdir(parents=True, exist_ok=True)
    for name in ("images", "lung_masks"):
        if not (table / name).exists():
            (table / name).symlink_to(source / name)
    rows = pd.read_csv(source / "metadata.csv", dtype=str, keep_default_na=False)
    rows.assign(split=rows["split"].replace("valid", "test")).to_csv(table / "metadata.csv", index=False)
    store = out / "lungs"
    run("prepare", "covid-chestxray", "--root", table, "--size", 224, "--out", store, "--overwrite")
    return store


def pretrain(store: Path, weights: Path, out: Path) -> Path:
    """Pretrain IGCL on the notes, and return its checkpoint."""
    image = {"backbone": BACKBONE, "weights": str(weights), "mean": 0.5, "std": 0.5, "interpolation": "bicubic"}
    words = [f"--model.image.{name}={value}" for name, value in image.items()]
    words += ["--model.image.size=224", "--model.optim.learning_rate=0.0003", "--data.batch_size=32"]
    words += ["--trainer.max_epochs=15", "--trainer.check_val_every_n_epoch=5", "--trainer.enable_progress_bar=false"]
    words += ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={out}", "--trainer.logger.name=igcl"]
    checkpoint = out / "igcl" / "version_0" / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        run("fit", "--config", "pretrain/phantom.yaml", "--data.store", store, *words)
    return checkpoint


def run(*words: object) -> None:
    if status := main([str(word) for word in words]):
        sys.exit(status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/lungs"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--protocol", type=Path, help="another protocol than the one of this file")
    given = parser.parse_args()
    if not os.environ.get("IGCL_DATA"):
        print("IGCL_DATA does not name the folder of real data; nothing measured")
        sys.exit()
    folder = Path(os.environ["IGCL_DATA"])
    prepared = prepare(folder, given.out)
    trained = pretrain(prepared, folder / WEIGHTS, given.out)
    asked = given.protocol or given.out / "protocol.yaml"
    if given.protocol is None:
        asked.write_text(yaml.safe_dump(PROTOCOL))
    encoder = f"imagenet=timm:{BACKBONE}@{folder / WEIGHTS}"
    words = ("--checkpoint", f"igcl={trained}", "--encoder", encoder, "--baselines", "random", "--jobs", given.jobs)
    run("evaluate", "--protocol", asked, "--store", prepared, "--out", given.out / "evaluated", *words)
