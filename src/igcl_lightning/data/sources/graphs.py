"""Graphs of a RadGraph file for the studies of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from igcl_lightning.data.sources.source import Notes
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.graph_index import GraphIndex
from igcl_lightning.graphs.radgraph_files import RadGraphFile, read_radgraph
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph


class ReportGraphs:
    """Finds the graph of a study by its names, then by the text of its report, and counts both.

    Args:
        path: file in any layout of `read_radgraph`.
        by_place: whether names may be positions of reports in a file without other keys.

    Raises:
        IgclError: the file does not exist, is broken, or contains no graphs.
    """

    def __init__(self, path: Path, *, by_place: bool = False) -> None:
        self.path = path
        self.file = _read(path)
        self.index = GraphIndex(self.file.graphs)
        self.counts = dict.fromkeys(("found_by_key", "found_by_text", "not_found"), 0)
        self._named = by_place or not self.file.positional
        self._first: str | None = None

    def find(self, names: Iterable[str | None], text: str | None = None) -> ReportGraph | None:
        """Return the graph of a study, None if the file has none or several.

        Args:
            names: possible keys of the study, best first: ids, paths of images or of reports.
            text: text of the report, or of the section that the file was made from.
        """
        for name in filter(None, names) if self._named else ():
            self._first = self._first or name
            if (graph := self.index.find(name)) is not None:
                self.counts["found_by_key"] += 1
                return graph
        graph = self.index.find_text(text or "")
        self.counts["not_found" if graph is None else "found_by_text"] += 1
        return graph

    def described(self, table: Path, advice: str = "") -> dict[str, Any]:
        """Return the manifest's entry about the file after the last `find`.

        Raises:
            IgclError: no study of the table has a graph in the file; the advice ends the message.
        """
        if self.counts["not_found"] and not self.counts["found_by_key"] + self.counts["found_by_text"]:
            looked = "by the text of the report" if self._first is None else f"by names like {self._first!r}"
            keys = f"keys there are like {next(iter(self.file.graphs))!r}"
            advice = advice or "--graphs must name the file of graphs that belongs to this data set"
            raise IgclError(
                f"{table}: no row finds its graph in {self.file.name}: looked for {looked}, {keys}; {advice}"
            )
        return {
            "layout": self.file.layout,
            "graphs": len(self.file.graphs),
            "ambiguous_studies": self.index.ambiguous,
            "faults": dict(sorted(self.file.counts.items())),
            "rows": self.counts,
        }


def find_graphs(
    path: Path | None,
    studies: Sequence[tuple[Iterable[str | None], str | None]],
    table: Path,
    notes: Notes,
    *,
    by_place: bool = False,
    advice: str = "",
) -> list[ReportGraph | None]:
    """Return the graph of each study, None if it has none; the file is added to the notes.

    `studies` are the names and the text of each study of the table, as for `ReportGraphs.find`; `advice` ends
    the `IgclError` raised if no study has a graph.
    """
    if path is None:
        return [None] * len(studies)
    file = ReportGraphs(path, by_place=by_place)
    found = [file.find(names, text) for names, text in studies]
    notes.settings["graphs"] = file.described(table, advice)
    notes.inputs.append(path)
    return found


def _read(path: Path) -> RadGraphFile:
    try:
        file = read_radgraph(path)
    except FileNotFoundError:
        raise IgclError(f"--graphs {path}: no such file") from None
    except OSError as error:
        raise IgclError(f"--graphs {path}: {error.strerror}") from error
    except ValueError as error:
        raise IgclError(f"--graphs: {error}") from error
    if not file.graphs:
        raise IgclError(f"{path}: contains no graphs")
    return file


def joined(graphs: Sequence[ReportGraph]) -> ReportGraph:
    """Return one graph of the graphs of a report's sections, in their order."""
    words: list[str] = []
    entities: list[Entity] = []
    relations: list[Relation] = []
    for graph in graphs:
        word, place = len(words), len(entities)
        words += graph.words
        entities += [replace(entity, start=entity.start + word, end=entity.end + word) for entity in graph.entities]
        relations += [
            Relation(relation.head + place, relation.type, relation.tail + place) for relation in graph.relations
        ]
    return ReportGraph(" ".join(words), tuple(entities), tuple(relations))
