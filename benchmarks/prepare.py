"""Images a second from originals to a store, beside bare Pillow, and what that means for MIMIC-CXR-JPG.

    python benchmarks/prepare.py --images 400

Originals are phantoms enlarged to 2544 x 3056 pixels with noise, as grey JPEG of quality 90, each image with a report
of its own. Reading is from the page cache: a slow disk or network adds to it. Bare Pillow opens, reduces, resizes,
centres and encodes the same files, and nothing else: it writes nothing and reads no report, so the ratio is also given
for the images alone. All take turns, since the speed of a shared machine varies.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import io
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

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
BESIDE = (
    ("5 megapixels", 2048, 2500, 200, CHUNK),
    ("256 pixels", 256, 256, 3072, 1024),
)  # images, and those of a chunk


def draw_originals(folder, width=WIDTH, height=HEIGHT):
    """Write some originals and return their paths and reports."""
    drawn = []
    folder.mkdir()
    for number in range(DRAWN):
        study = phantom_study(number, size=512, views="frontal")
        large = np.asarray(Image.fromarray(study.images[0].source).resize((width, height), Image.Resampling.BICUBIC))
        noise = np.random.default_rng(number).normal(0, 4, large.shape)
        path = folder / f"{number}.jpg"
        Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
        drawn.append((path, dict(study.report)))
    return drawn


def studies(drawn, count, reports=True):
    for number in range(count):
        path, report = drawn[number % len(drawn)]
        text = {**report, "findings": f"{report.get('findings', '')} Series {number}."}  # no report was read before
        yield Study(f"s{number}", f"p{number}", (StudyImage(f"i{number}", path),), report=text if reports else {})


def rate(drawn, count, folder, jobs, chunk=CHUNK, reports=True, **how):
    """Return images a second from the first chunk to the last, so that starting processes does not count."""
    source = Source("originals", partial(studies, drawn, count, reports), total=count)
    prepare(source, folder / "store", options=Options(**how), jobs=jobs, chunk=chunk)
    done = sorted(path.stat().st_mtime for path in (folder / "store" / "notes").iterdir())
    shutil.rmtree(folder / "store")
    return (count - chunk) / (done[-1] - done[0])


def bare_rate(drawn, count, size=256):
    """Return images a second of the least that Pillow does for a stored image."""
    start = time.perf_counter()
    for number in range(count):
        with Image.open(drawn[number % len(drawn)][0]) as image:
            scale = size / max(image.size)
            inner = (round(image.width * scale), round(image.height * scale))
            image.draft("L", (2 * inner[0], 2 * inner[1]))
            grey = image.convert("L").resize(inner, Image.Resampling.LANCZOS, reducing_gap=3)
        square = Image.new("L", (size, size))
        square.paste(grey, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        square.save(io.BytesIO(), "JPEG", quality=95)
    return count / (time.perf_counter() - start)


def beside_pillow(folder, rounds=5):
    """Print images a second of `prepare` in one process beside those of bare Pillow on the same files."""
    for label, width, height, count, chunk in BESIDE:
        drawn = draw_originals(folder / label, width, height)
        bare_rate(drawn, DRAWN)  # warms up
        for reports in (True, False):
            how = (drawn, count, folder, 1, chunk, reports)
            pairs = [(rate(*how), bare_rate(drawn, count // 2)) for _ in range(rounds)]
            ours, bare = (median(rates) for rates in zip(*pairs, strict=True))
            share = median(own / other for own, other in pairs)
            what = "with a report each" if reports else "images alone"
            print(f"{label}, {what}: {ours:.0f} images/s, bare Pillow {bare:.0f}, ratio {share:.2f}")


def hours(images_per_second):
    return f"{MIMIC_IMAGES / images_per_second / 3600:.1f} h"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--beside-pillow", action="store_true", help="only compare with bare Pillow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        beside_pillow(folder)
        if options.beside_pillow:
            return
        drawn = draw_originals(folder / "originals")
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
