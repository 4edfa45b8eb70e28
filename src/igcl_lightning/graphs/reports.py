"""The work behind `igcl graphs`: a file of reports -> a file of their graphs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from igcl_lightning.graphs.parser import ReportGraphParser, SpacyReportParser
from igcl_lightning.graphs.radgraph import to_radgraph


def parse_reports(source: Path, out: Path, parser: ReportGraphParser | None = None) -> int:
    """Parse reports one by one and write their graphs in RadGraph's layout.

    Args:
        source: one JSON object a line, `{"id": ..., "text": ...}`; other keys are left out, blank lines skipped.
        out: one line a report, `{"id": ..., "text": ..., "entities": {...}}`; appears only when all is written.
        parser: `SpacyReportParser` by default.

    Returns:
        The number of reports.

    Raises:
        FileNotFoundError: there is no `source`, or no folder for `out`.
        ValueError: a line is no JSON object with "id" and "text"; the message names file and line.
    """
    from tqdm import tqdm

    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent}: no such folder, make it first")
    parser = parser or SpacyReportParser()
    partial = out.with_name(f".{out.name}.partial")
    count = 0
    try:
        with source.open(encoding="utf-8") as reports, partial.open("w", encoding="utf-8") as graphs:
            for report_id, text in tqdm(_read_reports(reports, source.name), desc="reports", unit=" reports"):
                record = {"id": report_id, **to_radgraph(parser.parse(text))}
                graphs.write(json.dumps(record, ensure_ascii=False) + "\n")
                count += 1
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _read_reports(lines: TextIO, name: str) -> Iterator[tuple[str | int, str]]:
    """Yield id and text of each line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name} line {number}: not JSON: {error}") from error
        if not isinstance(record, dict) or not {"id", "text"} <= record.keys():
            raise ValueError(f'{name} line {number}: expected {{"id": ..., "text": ...}}')
        if not isinstance(record["text"], str):
            raise ValueError(f'{name} line {number}: "text" is no string')
        yield record["id"], record["text"]
