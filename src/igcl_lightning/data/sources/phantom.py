"""The phantom as a source: studies in order of their index."""

from __future__ import annotations

from collections.abc import Iterator

from igcl_lightning.data.phantom import phantom_study
from igcl_lightning.data.study import Study


def read_phantom(count: int, *, size: int = 128, seed: int = 0, start: int = 0) -> Iterator[Study]:
    """Yield phantom studies `start` to `start + count - 1`.

    Each is independent of the others: worker processes may each read a range of their own, or call `phantom_study`.

    Args:
        count: how many studies.
        size: height and width of the images in pixels, 64 to 512.
        seed: 0 or more; another seed is another collection.
        start: index of the first study.

    Raises:
        ValueError: an argument is out of range; see `phantom_study`.
    """
    if count < 0:
        raise ValueError(f"phantom count {count}: expected 0 or more")
    for index in range(start, start + count):
        yield phantom_study(index, seed=seed, size=size)
