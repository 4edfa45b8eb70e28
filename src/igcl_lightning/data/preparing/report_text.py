"""The report of a study: its sections, its state and the text that is parsed."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.reports.encodings import decoded
from igcl_lightning.reports.files import LFS_POINTER
from igcl_lightning.reports.sections import choose_sections, choose_text
from igcl_lightning.texts import encodable, is_blank

STATES = ("present", "none", "empty", "Git-LFS pointer", "not readable")
PRESENT, ABSENT, EMPTY, POINTER, UNREADABLE = STATES
"""States of a report. None: the source has no report, or its file is missing. Empty: no text to parse."""


FLAGS = {
    EMPTY: "report blank",
    POINTER: "report is a Git-LFS pointer",
    UNREADABLE: "report not readable",
    ABSENT: "report file missing",
}
"""Flag of a row by the state of its report; that of ABSENT only if the source names a file."""


class ReadReport(NamedTuple):
    """A report as read.

    Attributes:
        sections: text by section.
        state: one of `STATES`.
        detail: description for messages.
        encoding: encoding of its file other than UTF-8, for messages.
    """

    sections: dict[str, str]
    state: str
    detail: str
    encoding: str = ""

    def flags(self, report: Mapping[str, str] | Path) -> list[str]:
        """Return the flags of the rows of this report."""
        flags = [f"report read as {self.encoding}"] if self.encoding else []
        if self.state == PRESENT or (self.state == ABSENT and not isinstance(report, Path)):
            return flags
        return [FLAGS[self.state], *flags]


def read_report(report: Mapping[str, str] | Path, options: Options) -> ReadReport:
    """Read a report.

    Args:
        report: report of a `Study`.
        options: say which sections are parsed, and their headers.
    """
    encoding = ""
    if isinstance(report, Path):
        try:
            if not stat.S_ISREG(report.stat().st_mode):  # opening a pipe would block
                return ReadReport({}, UNREADABLE, f"{report}: not a regular file")
            text, encoding = decoded(report, report.read_bytes())
        except FileNotFoundError:
            return ReadReport({}, ABSENT, f"{report}: no such file")
        except (OSError, ValueError) as error:  # ValueError: no text, or a NUL byte in the name
            return ReadReport({}, UNREADABLE, f"{report}: {error}")
        texts = {"report": text}
        where = f"{report}: "
    else:
        texts, where = {name: encodable(text or "") for name, text in report.items()}, ""
    if any(text.lstrip().startswith(LFS_POINTER.decode()) for text in texts.values()):
        return ReadReport({}, POINTER, f"{where}a Git-LFS pointer in place of a report; fetch it with git lfs pull")
    kept = {name: text for name, text in texts.items() if not is_blank(text)}
    if not kept:
        said = f"{where}the report is empty" if texts else "the source has no report"
        return ReadReport({}, EMPTY if texts else ABSENT, said, encoding)
    state = PRESENT if report_text(kept, options.sections, options.headers) else EMPTY
    return ReadReport(kept, state, f"{where}no text under {options.sections}", encoding)


def report_text(report: Mapping[str, str], sections: str, headers: Mapping[str, str] | None = None) -> str:
    """Return the text to parse: the chosen sections, or the whole report if it has neither findings nor impression."""
    chosen = choose_sections({name: text or "" for name, text in report.items()}, sections)
    if chosen is not None:
        return chosen
    return choose_text((report.get("report") or "").strip(), sections, headers)
