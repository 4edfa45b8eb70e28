"""One report in Open-i's XML, read without ever expanding an entity."""

from __future__ import annotations

from xml.etree import ElementTree


def openi_report(content: bytes) -> tuple[str, dict[str, str]]:
    """Return id and sections of a report.

    Args:
        content: of one of the files of `NLMCXR_reports.tgz`.

    Returns:
        The id, such as "CXR12", and the text of each section by its name in lower case, such as "findings".

    Raises:
        ValueError: no XML, XML with a document type, or no report of Open-i.
    """
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_NoDoctype()))
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    except LookupError as error:
        raise ValueError(str(error)) from error
    named = root.find(".//uId")
    report_id = None if named is None else named.get("id")
    if not report_id:
        raise ValueError("no <uId id=...>, so no report of Open-i")
    sections: dict[str, list[str]] = {}
    for part in root.iter("AbstractText"):
        sections.setdefault(part.get("Label", "").strip().lower(), []).append("".join(part.itertext()).strip())
    return report_id, {name: "\n\n".join(filter(None, parts)) for name, parts in sections.items()}


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, and with it every entity that could be expanded."""

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        """Stop the reading."""
        raise ValueError(f"declares the document type {name!r}, which no report needs; not read")
