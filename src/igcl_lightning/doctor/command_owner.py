"""Who owns the command `lightning`: this program, or another one that is installed beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from igcl_lightning.doctor.findings import Finding

OURS = "igcl_lightning"


def check_command() -> Iterator[Finding]:
    """Say which packages bring a command `lightning`, and which of them answers to that name."""
    found = shutil.which("lightning")
    owners = {entry.value.partition(":")[0].partition(".")[0] for entry in _commands()}
    others = sorted(owners - {OURS})
    also = f"; {', '.join(others)} brings a command of that name too" if others else ""
    if found is None:
        yield Finding("ok", "command", f"no `lightning` on the path; igcl and python -m {OURS} are the program{also}")
    elif is_ours(Path(found)):
        yield Finding("ok", "command", f"`lightning` is this program, {found}{also}")
    else:
        yield Finding("warning", "command", f"`lightning` is another program, {found}: use igcl in its place{also}")


def is_ours(script: Path) -> bool:
    """Return whether the script that a package manager wrote for a command calls this package."""
    try:
        with script.open("rb") as file:
            return OURS.encode() in file.read(1 << 16)
    except OSError:
        return False


def _commands() -> list[EntryPoint]:
    return list(entry_points(group="console_scripts", name="lightning"))
