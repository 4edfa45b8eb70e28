"""The phantom as a source: studies in order of their index."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.study import Study
from igcl_lightning.errors import IgclError
from igcl_lightning.phantom import LABELS, phantom_study


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


def phantom_source(
    count: int,
    *,
    size: int = 128,
    seed: int = 0,
    variant: str = "standard",
    views: str = "all",
    phrasing: str = "mixed",
    shortcut: str | None = None,
    masks: bool = False,
) -> Source:
    """Return the first `count` phantom studies as a source, drawn in the processes that prepare them.

    Args:
        count: how many studies.
        size: height and width of the images in pixels, 64 to 512.
        seed: 0 or more; another seed is another collection.
        variant: "standard" or "hard_negatives".
        views: "all", or "frontal" for no lateral images.
        phrasing: how reports are worded.
        shortcut: the label that a planted mark goes with, None for no mark.
        masks: keep the masks of organs, findings and devices.

    Raises:
        IgclError: an argument is out of range; see `phantom_study`.
    """
    draw = partial(
        phantom_study, size=size, seed=seed, variant=variant, views=views, phrasing=phrasing, shortcut=shortcut
    )
    if count < 1:
        raise IgclError(f"--count is {count}, not at least 1")
    try:
        draw(0)
    except ValueError as error:
        raise IgclError(str(error)) from error
    return Source(
        name="phantom",
        items=lambda: (partial(draw, index) for index in range(count)),
        labels=LABELS,
        extra=("shortcut",) if shortcut else (),
        masks=masks,
        settings={"count": count, **draw.keywords},
        total=count,
    )
