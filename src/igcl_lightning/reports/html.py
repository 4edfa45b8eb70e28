"""Pages of one file without scripts or external resources, from the package's templates."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from igcl_lightning.atomic import replacing
from igcl_lightning.graphs.drawing import FONT_SIZE, LABEL_STYLES, RELATION_FONT_SIZE, label_style
from igcl_lightning.graphs.layout import NODE_HEIGHT
from igcl_lightning.graphs.schema import LABEL_ID

LINES = {"-": ("solid", "none"), "--": ("dashed", "4 2.5"), ":": ("dotted", "1.2 2.2")}
"""CSS names of matplotlib line styles, and dashes of SVG."""


def render(template: str, **values: Any) -> str:
    """Return a part of a page; text in `values` is escaped."""
    return _templates().get_template(template).render(values)


def write_html(path: Path, template: str, **values: Any) -> None:
    """Write a page; an earlier file stays until the new one is complete."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(_templates().get_template(template).generate(values))


@cache
def _templates() -> Environment:
    loader = PackageLoader("igcl_lightning", "templates")
    templates = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.globals |= {
        "styles": {label: label_style(label) for label in LABEL_ID},
        "common": list(LABEL_STYLES),
        "lines": LINES,
        "height": NODE_HEIGHT,
        "font_size": FONT_SIZE,
        "relation_font_size": RELATION_FONT_SIZE,
    }
    return templates
