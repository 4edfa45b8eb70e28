"""The phantom as a source: studies in order of their index."""

from __future__ import annotations

from collections.abc import Iterator

from igcl_lightning.data.phantom import phantom_study
from igcl_lightning.data.study import Study


def read_phantom(
    count: int,
    *,
    size: int = 128,
    seed: int = 0,
    start: int = 0,
    variant: str = "standard",
    shortcut: str | None = None,
    views: str = "all",
    phrasing: str = "mixed",
) -> Iterator[Study]:
    """Yield phantom studies `start` to `start + count - 1`.

    Each is independent of the others: worker processes may each read a range of their own, or call `phantom_study`,
    which explains the other arguments.

    Args:
        count: how many studies.
        size: height and width of the images in pixels, 64 to 512.
        seed: 0 or more; another seed is another collection.
        start: index of the first study.
        variant: "standard" or "hard_negatives".
        shortcut: the label that a planted mark goes with, None for no mark.
        views: "all", or "frontal" for no lateral images.
        phrasing: how reports are worded.

    Raises:
        ValueError: an argument is out of range; see `phantom_study`.
    """
    if count < 0:
        raise ValueError(f"phantom count {count}: expected 0 or more")
    for index in range(start, start + count):
        yield phantom_study(
            index, seed=seed, size=size, variant=variant, shortcut=shortcut, views=views, phrasing=phrasing
        )
