"""The table of speeds: every claim measured again, side by side, on this machine.

    python benchmarks/table.py [--all | NAME ...]

Each benchmark runs in a process of its own and writes `benchmarks/results/NAME.json`; the tables of docs/performance.md
are written from these files. Names are those of files in this folder; without any, the tables are only written again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from side_by_side import Record, as_table

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- written by benchmarks/table.py -->\n", "<!-- end -->\n"
SECTIONS = {
    "Loss and memory": ("contrastive_loss",),
    "Graphs": ("graph_batches", "component_joins", "graph_encoder", "parser_speed"),
    "Images and steps": ("training_step",),
    "Local matchings": ("local_matching",),
    "Probes and statistics": ("probes", "intervals"),
    "Cost as work grows": ("growth",),
}
MEASURE = "import sys, NAME, side_by_side, pathlib; side_by_side.write(NAME.records(), pathlib.Path(sys.argv[1]))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for names in SECTIONS.values() for name in names]
    parser.add_argument("names", nargs="*", choices=[*known, []], metavar="NAME", help=", ".join(known))
    parser.add_argument("--all", action="store_true", help="measure everything")
    options = parser.parse_args()
    failed = [name for name in (known if options.all else options.names) if not measure(name)]
    write_page()
    if failed:
        sys.exit(f"failed, and kept as before: {', '.join(failed)}")


def measure(name: str) -> bool:
    """Measure one benchmark; returns whether it ended."""
    start = time.perf_counter()
    print(f"{name} ...", end=" ", flush=True)
    code = MEASURE.replace("NAME", name)
    status = subprocess.run([sys.executable, "-c", code, str(RESULTS / f"{name}.json")], cwd=HERE).returncode
    print(f"{'done' if status == 0 else 'FAILED'} in {time.perf_counter() - start:.0f} s")
    return status == 0


def read(name: str) -> list[Record]:
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def tables() -> str:
    """Return all that is measured, a table for each section."""
    parts = []
    for title, names in SECTIONS.items():
        if records := [record for name in names for record in read(name)]:
            machines = sorted({f"{record['machine']}, {record['threads']} thread(s)" for record in records})
            commands = ", ".join(f"`{name}`" for name in names if read(name))
            parts.append(f"## {title}\n\n{as_table(records)}\n\n{commands}; {'; '.join(machines)}.\n")
    return "\n".join(parts) or "Nothing is measured yet.\n"


def write_page() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{tables()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
