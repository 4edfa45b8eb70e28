"""A look at all studies before any image is opened: their ids, and whether there are images and reports at all."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from igcl_lightning.data.preparing.any_image import AnyImage
from igcl_lightning.data.preparing.manifest import Ids
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.preparing.report_text import (
    ABSENT,
    EMPTY,
    POINTER,
    PRESENT,
    UNREADABLE,
    read_report,
    report_text,
)
from igcl_lightning.data.sources.source import Source
from igcl_lightning.data.splits import split_name
from igcl_lightning.data.study import Study
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.language import is_english

NOT_ENGLISH, NO_ENTITIES = "not English", "graph without entities"
WORDS = {ABSENT: "missing", EMPTY: "blank", POINTER: "Git-LFS pointer", UNREADABLE: "not readable"}
ADVICE = {
    ABSENT: "name their folder with --reports",
    NOT_ENGLISH: "--any-language parses them all the same",
}
"""What to do about reports that give no graph."""

WITHOUT_GRAPHS = "--allow-no-graphs makes a store without graphs, for labels or report texts"


def survey(source: Source, options: Options, *, allow_no_graphs: bool = False) -> dict[str, Any]:
    """Return the number of studies, a hash of their row ids, and whether studies are `paired` with reports or graphs.

    Studies that a source yields as calls are counted, but not looked at.

    Raises:
        IgclError: an id occurs twice, a patient is in two splits, no image file exists, or, unless `allow_no_graphs`,
            no report can give a graph.
    """
    ids, number, digest = Ids(), 0, hashlib.sha256()
    images, reports = AnyImage(), _Reports(options)
    for item in source.items():
        number += 1
        images.found |= not isinstance(item, Study)  # what a call returns is not known yet
        if isinstance(item, Study):
            for image in item.images:
                ids.add_row(image.image_id)
                digest.update(repr(image.image_id).encode())
                images.add(image.source)
            if item.patient_id is not None and item.split is not None:
                ids.add_patient(item.patient_id, split_name(item.split))
            reports.look(item)
    images.refuse_none(source.inputs, "--root" if source.name == "table" else "--root or --images")
    if not allow_no_graphs:
        reports.refuse_none()
    return {"studies": number, "rows": digest.hexdigest(), "paired": reports.expected}


def refuse_no_graphs(manifest: Mapping[str, Any], needed: bool, again: str) -> None:
    """Raise `IgclError` if graphs are needed and no row has one with entities; `again` is the command to repeat."""
    rows = sum(manifest["rows"].values())
    if needed and manifest["rows_with_empty_graph"] == rows:
        raise IgclError(
            f"none of the {rows} rows has a graph with entities, although there are reports; finished work is kept: "
            f"{again} --allow-no-graphs makes the store all the same, for labels or report texts"
        )


class _Reports:
    """Whether any study has a report that can give a graph; reports are read until the first is found.

    Attributes:
        expected: whether a study has a report, even a blank or a missing one, or the graph of one.
    """

    def __init__(self, options: Options) -> None:
        self.options, self.expected, self.usable = options, False, False
        self.useless: Counter[str] = Counter()
        self.first = ""

    def look(self, study: Study) -> None:
        if self.usable or not (study.report or (study.graph and study.graph.text)):
            return
        self.expected = True
        why, detail = self._useless(study)
        self.usable = not why
        self.useless[why] += 1
        self.first = self.first or detail

    def _useless(self, study: Study) -> tuple[str, str]:
        """Return why a report gives no graph, "" if it may give one, and a description for messages."""
        if study.graph is not None and study.graph.entities:
            return "", ""
        sections, state, detail, _ = read_report(study.report, self.options)
        if state != PRESENT:
            return state, detail
        if study.graph is not None and not self.options.reparse:
            return NO_ENTITIES, ""
        text = report_text(sections, self.options.sections, self.options.headers)
        return ("", "") if self.options.any_language or is_english(text) else (NOT_ENGLISH, "")

    def refuse_none(self) -> None:
        if self.expected and not self.usable:
            counted = [f"{count} {WORDS.get(why, why)}" for why, count in self.useless.most_common()]
            example = f"; the first: {self.first}" if self.first else ""
            advice = [ADVICE[why] for why, _ in self.useless.most_common() if why in ADVICE]
            said = "; ".join([*advice, WITHOUT_GRAPHS])
            raise IgclError(f"no report gives a graph ({', '.join(counted)}{example}); {said}")
