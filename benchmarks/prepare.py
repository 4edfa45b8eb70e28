"""Images a second from originals to a store, and what that means for MIMIC-CXR-JPG.

    python benchmarks/prepare.py --images 400

Originals are phantoms enlarged to 2544 x 3056 pixels with noise, as grey JPEG of quality 90, each image with a report
of its own. Reading is from the page cache: a slow disk or network adds to it.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.study import Study, StudyImage

MIMIC_IMAGES = 377_110
WIDTH, HEIGHT = 2544, 3056
DRAWN = 20
CHUNK = 40


def draw_originals(folder):
    """Write some originals and return their paths and reports."""
    drawn = []
    for number in range(DRAWN):
        study = phantom_study(number, size=512, views="frontal")
        large = np.asarray(Image.fromarray(study.images[0].source).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        noise = np.random.default_rng(number).normal(0, 4, large.shape)
        path = folder / f"{number}.jpg"
        Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
        drawn.append((path, dict(study.report)))
    return drawn


def studies(drawn, count):
    for number in range(count):
        path, report = drawn[number % len(drawn)]
        text = {**report, "findings": f"{report.get('findings', '')} Series {number}."}  # no report was read before
        yield Study(f"s{number}", f"p{number}", (StudyImage(f"i{number}", path),), report=text)


def rate(drawn, count, folder, jobs, **how):
    """Return images a second from the first chunk to the last, so that starting processes does not count."""
    source = Source("originals", partial(studies, drawn, count), total=count)
    prepare(source, folder / "store", options=Options(**how), jobs=jobs, chunk=CHUNK)
    done = sorted(path.stat().st_mtime for path in (folder / "store" / "notes").iterdir())
    shutil.rmtree(folder / "store")
    return (count - CHUNK) / (done[-1] - done[0])


def hours(images_per_second):
    return f"{MIMIC_IMAGES / images_per_second / 3600:.1f} h"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawn = draw_originals(folder)
        megabytes = np.mean([path.stat().st_size for path, _ in drawn]) / 1e6
        print(f"originals: {WIDTH} x {HEIGHT}, {megabytes:.1f} MB each")
        rates = {}
        for label, jobs, how in (
            ("256 px, 1 process", 1, {}),
            ("256 px, 2 processes", 2, {}),
            ("512 px, 2 processes", 2, {"size": 512}),
            ("256 px, 2 processes, --full-decode", 2, {"full_decode": True}),
        ):
            rates[label] = rate(drawn, options.images, folder, jobs, **how)
            print(f"{label}: {rates[label]:.0f} images/s, {MIMIC_IMAGES:,} images in {hours(rates[label])}")
        two = rates["256 px, 2 processes"]
        print(f"on 16 cores, if each does what one of two did here: {8 * two:.0f} images/s, {hours(8 * two)}")


if __name__ == "__main__":
    main()
