"""Look-up of report graphs by any name of the study (path of a report or image, id) or by text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from igcl_lightning.graphs.radgraph import loose
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.texts import plain_id

_MIMIC = re.compile(r"(?:^|[/\\])s(\d{8})(?=$|[/\\.])")
_MIMIC_BARE = re.compile(r"\d{8}")
_CHEXPERT = re.compile(r"(?:^|[/\\])(patient\d+)[/\\_](study\d+)(?=$|[/\\_.])")
_SUFFIX = re.compile(r"\.(?:txt|json|xml|jpe?g|png|dcm|dicom)$", re.IGNORECASE)


def study_key(name: str) -> str:
    """Return a key that all paths and ids of a study share.

    - MIMIC-CXR: "s58821758" of any path with this folder or file name, or of the bare number of eight digits.
    - CheXpert: "patient00001/study1" of any path with these folders, or with them joined by "_".
    - Anything else: the name itself as `plain_id`, with "/" between folders and without the suffix of a text or image.
    """
    name = plain_id(name) or name.strip()
    if found := _MIMIC.findall(name):
        return f"s{found[-1]}"
    if _MIMIC_BARE.fullmatch(name):
        return f"s{name}"
    if found := _CHEXPERT.findall(name):
        return "/".join(found[-1])
    return _SUFFIX.sub("", name.replace("\\", "/").removeprefix("./"))


class GraphIndex:
    """Finds graphs by study and by text.

    A study or text with several different graphs, such as two sections of a report in one file, is ambiguous and has
    none. An exact key of the file always finds its graph.

    Args:
        graphs: graphs by the report's key, as `read_radgraph` returns them.
    """

    def __init__(self, graphs: Mapping[str, ReportGraph]) -> None:
        self._graphs = graphs
        self._by_study = _unambiguous((study_key(key), graph) for key, graph in graphs.items())
        self._by_text: dict[str, ReportGraph | None] | None = None

    @property
    def ambiguous(self) -> int:
        """Number of studies with several different graphs."""
        return sum(graph is None for graph in self._by_study.values())

    def find(self, name: str) -> ReportGraph | None:
        """Return the graph of a key in the file or of a study's path or id, None if there is none or several."""
        return self._graphs[name] if name in self._graphs else self._by_study.get(study_key(name))

    def find_text(self, text: str) -> ReportGraph | None:
        """Return the graph of a text, ignoring case and white space; None if there is none or several."""
        if self._by_text is None:
            self._by_text = _unambiguous((loose(graph.text), graph) for graph in self._graphs.values())
        wanted = loose(text)
        return self._by_text.get(wanted) if wanted else None


def _unambiguous(pairs: Iterable[tuple[str, ReportGraph]]) -> dict[str, ReportGraph | None]:
    """Return the graph of each key, None for a key of several different graphs."""
    found: dict[str, ReportGraph | None] = {}
    for key, graph in pairs:
        found[key] = graph if found.setdefault(key, graph) == graph else None
    return found
