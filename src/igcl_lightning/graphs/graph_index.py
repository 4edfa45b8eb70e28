"""The graph of a report, found by whatever names its study: a report's path, an image's path, an id, or its text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from igcl_lightning.graphs.radgraph import loose
from igcl_lightning.graphs.schema import ReportGraph

_MIMIC = re.compile(r"(?:^|[/\\])s(\d{8})(?=$|[/\\.])")
_MIMIC_BARE = re.compile(r"\d{8}")
_CHEXPERT = re.compile(r"(?:^|[/\\])(patient\d+)[/\\_](study\d+)(?=$|[/\\_.])")
_SUFFIX = re.compile(r"\.(?:txt|json|xml|jpe?g|png|dcm|dicom)$", re.IGNORECASE)


def study_key(name: str) -> str:
    """Return what a path or an id of a study has in common with the other names of that study.

    - MIMIC-CXR: "s58821758" of any path with this folder or file name, or of the bare number of eight digits.
    - CheXpert: "patient00001/study1" of any path with these folders, or with them joined by "_".
    - Anything else: the name itself, with "/" between folders and without the suffix of a text or an image.
    """
    name = name.strip()
    if found := _MIMIC.findall(name):
        return f"s{found[-1]}"
    if _MIMIC_BARE.fullmatch(name):
        return f"s{name}"
    if found := _CHEXPERT.findall(name):
        return "/".join(found[-1])
    return _SUFFIX.sub("", name.replace("\\", "/").removeprefix("./"))


class GraphIndex:
    """Finds graphs by study and by text.

    A study or a text that stands for several different graphs is ambiguous, and found to have none: two sections of a
    report in one file, say. The exact key of the file always finds its graph.

    Args:
        graphs: by the report's key, as `read_radgraph` gives them.
    """

    def __init__(self, graphs: Mapping[str, ReportGraph]) -> None:
        self._graphs = graphs
        self._by_study = _unambiguous((study_key(key), graph) for key, graph in graphs.items())
        self._by_text: dict[str, ReportGraph | None] | None = None

    @property
    def ambiguous(self) -> int:
        """The number of studies that stand for several different graphs."""
        return sum(graph is None for graph in self._by_study.values())

    def find(self, name: str) -> ReportGraph | None:
        """Return the graph of a study, or None where there is none or the study is ambiguous.

        Args:
            name: the key of the file, or a path or an id that `study_key` takes for the same study's.
        """
        return self._graphs[name] if name in self._graphs else self._by_study.get(study_key(name))

    def find_text(self, text: str) -> ReportGraph | None:
        """Return the graph of a report by its text, or None where there is none or the text is ambiguous.

        Case and white space do not count, so that a text is found however its words were parted.
        """
        if self._by_text is None:
            self._by_text = _unambiguous((loose(graph.text), graph) for graph in self._graphs.values())
        wanted = loose(text)
        return self._by_text.get(wanted) if wanted else None


def _unambiguous(pairs: Iterable[tuple[str, ReportGraph]]) -> dict[str, ReportGraph | None]:
    """Return the graph of each key, None where several different graphs have it."""
    found: dict[str, ReportGraph | None] = {}
    for key, graph in pairs:
        found[key] = graph if found.setdefault(key, graph) == graph else None
    return found
