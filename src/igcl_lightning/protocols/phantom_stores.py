"""Stores of phantoms that a table of runs makes for itself, unless they stand already."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from igcl_lightning.closing import say_progress
from igcl_lightning.data.prepare import prepare
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_source
from igcl_lightning.data.store_path import MANIFEST
from igcl_lightning.errors import IgclError

STUDIES_PER_PROCESS = 256  # starting a process costs as much as preparing a few hundred studies


def prepare_phantoms(path: Path, studies: int, size: int, jobs: int = 1, **options: Any) -> None:
    """Prepare frontal phantoms with parsed reports and masks, unless they stand; those of another version are replaced.

    Args:
        path: the store.
        studies: number of studies.
        size: side of the images in pixels.
        jobs: number of processes, at most.
        options: of `phantom_source`, such as variant and seed.
    """
    source = partial(phantom_source, size=size, views="frontal", masks=True)(studies, **options)
    kept = Options(size=size, lossless=True, reparse=True)
    jobs = max(1, min(jobs, studies // STUDIES_PER_PROCESS))
    if not (path / MANIFEST).is_file():
        say_progress(f"{studies:,} synthetic chest radiographs with reports -> {path}")
    try:
        prepare(source, path, options=kept, jobs=jobs, resume=True)
    except IgclError:
        if not (path / MANIFEST).is_file():
            raise
        prepare(source, path, options=kept, jobs=jobs, overwrite=True)
