"""Phantom studies per second on one core at 128 pixels, images, report and graph included."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import time

from igcl_lightning.data.sources.phantom import phantom_study

BATCH, ROUNDS = 200, 5


def main():
    for index in range(20):
        phantom_study(index, seed=1)  # imports and tables
    rates = []
    for start in range(0, BATCH * ROUNDS, BATCH):
        begin = time.process_time()
        images = sum(len(phantom_study(index).images) for index in range(start, start + BATCH))
        seconds = time.process_time() - begin
        rates.append(BATCH / seconds)
        print(f"{BATCH} studies, {images} images: {BATCH / seconds:.0f} studies/s")
    print(f"median {sorted(rates)[ROUNDS // 2]:.0f} studies/s of processor time")


if __name__ == "__main__":
    main()
