"""The report of a study: its sections, its state and the text that is parsed."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.reports.files import LFS_POINTER
from igcl_lightning.reports.sections import choose_sections, choose_text
from igcl_lightning.texts import encodable, is_blank

STATES = ("present", "none", "empty", "Git-LFS pointer", "not readable")
PRESENT, ABSENT, EMPTY, POINTER, UNREADABLE = STATES
"""States of a report. None: the source has no report, or its file is missing. Empty: no text to parse."""


def read_report(report: Mapping[str, str] | Path, options: Options) -> tuple[dict[str, str], str, str]:
    """Return the text by section, the state of the report, and a description for messages.

    Args:
        report: report of a `Study`.
        options: say which sections are parsed, and their headers.
    """
    if isinstance(report, Path):
        try:
            if not stat.S_ISREG(report.stat().st_mode):  # opening a pipe would block
                return {}, UNREADABLE, f"{report}: not a regular file"
            texts = {"report": report.read_text("utf-8-sig")}
        except FileNotFoundError:
            return {}, ABSENT, f"{report}: no such file"
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL byte in the name
            return {}, UNREADABLE, f"{report}: {error}"
        where = f"{report}: "
    else:
        texts, where = {name: encodable(text or "") for name, text in report.items()}, ""
    if any(text.lstrip().startswith(LFS_POINTER.decode()) for text in texts.values()):
        return {}, POINTER, f"{where}a Git-LFS pointer in place of a report; fetch it with git lfs pull"
    kept = {name: text for name, text in texts.items() if not is_blank(text)}
    if not kept:
        return {}, EMPTY if texts else ABSENT, f"{where}the report is empty" if texts else "the source has no report"
    return (
        kept,
        PRESENT if report_text(kept, options.sections, options.headers) else EMPTY,
        f"{where}no text under {options.sections}",
    )


def report_text(report: Mapping[str, str], sections: str, headers: Mapping[str, str] | None = None) -> str:
    """Return the text to parse: the chosen sections, or the whole report if it has neither findings nor impression."""
    chosen = choose_sections({name: text or "" for name, text in report.items()}, sections)
    if chosen is not None:
        return chosen
    return choose_text((report.get("report") or "").strip(), sections, headers)
