"""One report in Open-i's XML; entities are never expanded."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree


class OpeniRecord(NamedTuple):
    """A report, its codes and its images.

    Attributes:
        id: id such as "CXR12".
        sections: text by section name in lower case, such as "findings".
        mesh: codes such as "Opacity/lung/base/left": head and qualifiers.
        images: ids of the images, such as "CXR12_IM-0123-1001".
        caption: name of the examination.
    """

    id: str
    sections: dict[str, str]
    mesh: tuple[str, ...]
    images: tuple[str, ...]
    caption: str


def openi_record(content: bytes) -> OpeniRecord:
    """Parse a file of `NLMCXR_reports.tgz`; raises `ValueError` if it is not XML, has a document type or no report."""
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_NoDoctype()))
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    except LookupError as error:
        raise ValueError(str(error)) from error
    named = root.find(".//uId")
    report_id = None if named is None else named.get("id")
    if not report_id:
        raise ValueError("no <uId id=...>, so not a report of Open-i")
    sections: dict[str, list[str]] = {}
    for part in root.iter("AbstractText"):
        sections.setdefault(part.get("Label", "").strip().lower(), []).append("".join(part.itertext()).strip())
    images = list(root.iter("parentImage"))
    return OpeniRecord(
        report_id,
        {name: "\n\n".join(filter(None, parts)) for name, parts in sections.items()},
        tuple(text for code in root.iterfind(".//MeSH/major") if (text := (code.text or "").strip())),
        tuple(name for image in images if (name := image.get("id"))),
        next((text for image in images if (text := (image.findtext("caption") or "").strip())), ""),
    )


class _NoDoctype(ElementTree.TreeBuilder):
    """Rejects document types, and thereby all entities."""

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        """Raise `ValueError`."""
        raise ValueError(f"declares the document type {name!r}, which no report needs; not read")
