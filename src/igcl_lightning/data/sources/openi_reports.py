"""Reports of Open-i in three forms: the library's XML, Kaggle's tables, R2Gen's annotation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from igcl_lightning.data.sources.tables import find_file, read_columns, table_patterns
from igcl_lightning.data.splits import split_name
from igcl_lightning.errors import IgclError
from igcl_lightning.reports.openi_xml import OpeniRecord, openi_record
from igcl_lightning.reports.sources import XmlArchive, XmlFolder

PATTERNS = (
    *("ecgen-radiology/*.xml", "*/ecgen-radiology/*.xml", "*.xml", "NLMCXR_reports.tgz", "*/NLMCXR_reports.tgz"),
    *table_patterns("indiana_reports.csv"),
    *("annotation.json", "*/annotation.json"),
)
"""Files of reports, best first: XML files contain all of them, tables only those with images."""

SECTIONS = ("indication", "comparison", "findings", "impression")


@dataclass(frozen=True)
class OpeniReports:
    """Reports of one form, by their id in the XML files or R2Gen's own id, with their splits if the form has them."""

    path: Path
    records: Mapping[str, OpeniRecord]
    splits: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_reports(root: Path, image_ids: Mapping[str, list[str]]) -> OpeniReports:
    """Read the reports below a folder, in the first form of `PATTERNS` that is found.

    `image_ids` are the images of each report, for Kaggle's tables, which do not name them.
    """
    path = find_file(root, *PATTERNS, what="reports of Open-i")
    if path.suffix == ".xml":
        return _read_xml(path.parent)
    if path.suffix == ".tgz":
        return _read_xml(path)
    return _read_annotation(path) if path.suffix == ".json" else _read_table(path, image_ids)


def _read_xml(path: Path) -> OpeniReports:
    """Read an archive or a folder; the manifest has one hash of all files of a folder."""
    records: dict[str, OpeniRecord] = {}
    digest = hashlib.sha256()
    for place, content in _xml_files(path):
        digest.update(content)
        try:
            record = openi_record(content)
        except ValueError as error:
            raise IgclError(f"{place}: {error}") from error
        if record.id in records:
            raise IgclError(f"{place}: report {record.id} is in an earlier file too; remove one of the two")
        records[record.id] = record
    return OpeniReports(path, records, settings={"reports_sha256": digest.hexdigest()} if path.is_dir() else {})


def _xml_files(path: Path) -> Iterator[tuple[str, bytes]]:
    source = XmlFolder(path) if path.is_dir() else XmlArchive(path)
    try:
        for item in source.items():
            content = item.content if isinstance(source, XmlArchive) else (path / str(item.where)).read_bytes()
            yield f"{path}/{item.where}", content
    except ValueError as error:
        raise IgclError(f"{path.parent}/{error}") from error


def _read_table(path: Path, image_ids: Mapping[str, list[str]]) -> OpeniReports:
    optional = ("indication", "comparison", "MeSH", "image")
    frame = read_columns(path, ("uid", "findings", "impression"), optional, key="uid")
    records = {
        name: OpeniRecord(
            id=name,
            sections={section: row[section] or "" for section in SECTIONS},
            mesh=tuple(filter(None, (row["MeSH"] or "").split(";"))),
            images=tuple(image_ids.get(name, ())),
            caption=row["image"] or "",
        )
        for row in frame.to_dict("records")
        for name in [f"CXR{row['uid']}"]
    }
    return OpeniReports(path, records)


def _read_annotation(path: Path) -> OpeniReports:
    """Read R2Gen's file: examinations by split, each with its text and the paths of its images."""
    records: dict[str, OpeniRecord] = {}
    splits: dict[str, str] = {}
    try:
        for split, examinations in json.loads(path.read_bytes()).items():
            for examination in examinations:
                name, text = str(examination["id"]), str(examination["report"])
                images = tuple(str(Path(image).with_suffix("")) for image in examination["image_path"])
                records[name] = OpeniRecord(name, {"report": text}, (), images, "")
                splits[name] = split_name(split)
    except IgclError as error:
        raise IgclError(f"{path}: {error}") from None
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise IgclError(f"{path}: not R2Gen's annotation of IU X-ray ({type(error).__name__}: {error})") from error
    return OpeniReports(path, records, splits)
