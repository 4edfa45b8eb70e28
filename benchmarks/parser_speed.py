"""From text to graph beside spaCy's English tokenizer alone, in processor time, on the same reports.

    [IGCL_DATA=DIR] python benchmarks/parser_speed.py [--rounds 7]

Each round starts with a new parser, which knows no sentence, and a new tokenizer. The reports are Open-i's where
IGCL_DATA names them, otherwise those of phantoms. Sentences recur within them, as in any archive.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import spacy

from igcl_lightning.graphs.parser import SpacyReportParser
from report_graphs import phantom_texts, read_open_i
from side_by_side import Claim, Record, as_table, faster, times_in_turns

PHANTOMS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    print(as_table(records(**vars(parser.parse_args()))))


def records(rounds: int = 7, phantoms: int = PHANTOMS) -> list[Record]:
    folder = Path(os.environ.get("IGCL_DATA", "")) / "openi"
    of_patients = bool(os.environ.get("IGCL_DATA")) and folder.is_dir()
    texts = [report.text for report in read_open_i(folder)] if of_patients else phantom_texts(phantoms)
    times = times_in_turns(lambda: parsed(texts), lambda: tokenized(texts), rounds, time.process_time)
    whose = "of Open-i" if of_patients else "of phantoms"
    claim = Claim(
        f"parser, text to graph, {len(texts):,} reports {whose}", "spaCy's tokenizer alone", "of its rate", 0.2
    )
    return [claim.record(faster(times), f"{len(texts) / min(own for own, _ in times):,.0f} reports/s")]


def parsed(texts: Sequence[str]) -> None:
    for _ in SpacyReportParser().parse_many(texts):
        pass


def tokenized(texts: Sequence[str]) -> None:
    tokenizer = spacy.blank("en").tokenizer
    for text in texts:
        tokenizer(text)


if __name__ == "__main__":
    main()
