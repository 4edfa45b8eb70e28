"""Regions of CheXlocalize: its segmentations (COCO's run lengths) and annotations (polygons) of CheXpert's images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from igcl_lightning.data.regions import RunLengths
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.files import reason

FILES = ("*gt_annotations_*.json", "*gt_segmentations_*.json")
"""Files of regions in a folder; where an image is in both kinds, its segmentations count."""

NAMES: Mapping[str, str] = {"Airspace Opacity": "Lung Opacity"}
"""Names of labels that CheXlocalize calls otherwise."""

SIZE = "img_size"
MAX_PIXELS = 1 << 28
"""More pixels than any radiograph has."""


class Region(NamedTuple):
    """A region as the file has it: polygons, or the text of run lengths, in an image of `height` and `width`.

    CheXpert-small has smaller copies of these images, which they fit too.
    """

    content: Any
    height: int
    width: int

    def runs(self) -> RunLengths:
        """Return the pixels of the region; raises `ValueError` or `TypeError` if it is damaged."""
        if not 0 < self.height * self.width <= MAX_PIXELS:
            raise ValueError(f"a size of {self.height} x {self.width}")
        if isinstance(self.content, str):
            runs = RunLengths.of_coco(self.content, self.height, self.width)
        else:
            corners = [[(float(x), float(y)) for x, y in polygon] for polygon in self.content]
            runs = RunLengths.of_polygons([polygon for polygon in corners if len(polygon) > 2], self.height, self.width)
        runs.check()
        return runs._replace(scalable=True)


Regions = dict[str, dict[str, Region]]
"""Regions by label by image, such as "patient64541_study1_view1_frontal"."""


def read_regions(path: Path, counts: Counter[str]) -> tuple[Regions, list[Path]]:
    """Return the regions of a file, or of all files in a folder, and these files; empty regions are left out.

    Raises:
        IgclError: there is no such file, or it is damaged; the message names file, image and region.
    """
    files = [file for pattern in FILES for file in sorted(path.glob(pattern))] if path.is_dir() else [path]
    if not files:
        raise IgclError(f"--masks {path}: contains none of {', '.join(FILES)}")
    regions: Regions = {}
    for file in files:
        for image, entries in _entries(file).items():
            regions[image] = _regions(file, image, entries, counts)
    return regions, files


def _entries(file: Path) -> dict[str, Any]:
    try:
        entries = json.loads(file.read_bytes())
    except OSError as error:
        raise IgclError(f"--masks {file}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise IgclError(f"--masks {file}: not JSON ({error})") from error
    if not isinstance(entries, dict):
        raise IgclError(f"--masks {file}: not CheXlocalize's annotations or segmentations, which are by image")
    return entries


def _regions(file: Path, image: str, entries: Any, counts: Counter[str]) -> dict[str, Region]:
    """Return the regions of an image that have a pixel, by label."""
    found = {}
    name = ""
    try:
        for name in entries.keys() - {SIZE}:
            entry = entries[name]
            content, size = (entry, entries[SIZE]) if isinstance(entry, list) else (entry["counts"], entry["size"])
            region = Region(content, *(int(side) for side in size))
            if region.runs().runs:
                found[NAMES.get(name, name)] = region
            if isinstance(entry, list):
                counts["regions of less than three corners"] += sum(len(polygon) < 3 for polygon in entry)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise IgclError(f"--masks {file}: {image}, {name or SIZE}: {type(error).__name__}: {error}") from error
    return dict(sorted(found.items()))
