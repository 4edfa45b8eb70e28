"""A figure of matplotlib as SVG inside a page: names of its own, and colours that the style of the page decides."""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from igcl_lightning.evaluation.plots import PALETTE

COLOURS = {
    **{colour.lower(): f"var(--method-{number})" for number, colour in enumerate(PALETTE)},
    "#000000": "currentColor",
    "#808080": "var(--soft)",
    "#e6e6e6": "var(--rule)",
}
"""What stands for each colour of the plots: a page is read on light and on dark paper."""

POINT = 4 / 3
"""Pixels of a page in a point of matplotlib."""

DECIMALS = 1
"""Decimals of coordinates, in points: finer is hardly seen, and makes a page longer."""

OPTIONS: Any = {"path.simplify_threshold": 0.5, "svg.fonttype": "none", "svg.hashsalt": "igcl"}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}

_NAMESPACE = re.compile(r"^\{[^}]*\}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_LINK = re.compile(r'href="#([^"]+)"')
_NUMBER = re.compile(r"-?\d+\.\d+")
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")


def as_svg(figure: Figure, name: str, alt: str) -> str:
    """Return a figure as an `svg` element without a namespace, a font, a script or a reference outside itself.

    Args:
        figure: the figure.
        name: beginning of its ids, so that two figures of a page share none.
        alt: what is read in its place.
    """
    written = io.StringIO()
    with matplotlib.rc_context(OPTIONS):
        figure.savefig(written, format="svg", transparent=True, metadata=NO_METADATA)
    text = written.getvalue()
    used = {*_REFERENCE.findall(text), *_LINK.findall(text)}
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in [each for each in parent if _NAMESPACE.sub("", each.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        if element.get("id") not in used:  # two thirds of a figure are names and blanks
            element.attrib.pop("id", None)
        element.text, element.tail = (_without_blanks(each) for each in (element.text, element.tail))
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", key): _value(key, value, name) for key, value in element.attrib.items()}
    width = float(root.attrib.pop("width").removesuffix("pt")) * POINT
    for unneeded in ("height", "version"):
        root.attrib.pop(unneeded)
    root.attrib |= {"class": "plot", "role": "img", "aria-label": alt, "style": f"--width: {width:.0f}px"}
    return ElementTree.tostring(root, encoding="unicode")


def _without_blanks(text: str | None) -> str | None:
    return text if text and text.strip() else None


def _value(key: str, value: str, name: str) -> str:
    """Return an attribute with ids of this figure only, colours of the page, and short numbers."""
    plain = _NAMESPACE.sub("", key)
    if plain == "id":
        return f"{name}-{value}"
    if plain == "href":
        return f"#{name}-{value.removeprefix('#')}"
    value = _REFERENCE.sub(rf"url(#{name}-\1)", value)
    if plain in ("style", "fill", "stroke"):
        value = _FONT.sub("", value)  # that of the page
        return _COLOUR.sub(lambda found: COLOURS.get(found[0], found[0]), value)
    return _NUMBER.sub(lambda found: f"{float(found[0]):.{DECIMALS}f}".rstrip("0").rstrip("."), " ".join(value.split()))
