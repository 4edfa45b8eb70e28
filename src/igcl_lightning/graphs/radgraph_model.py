"""Report parser with the models of the package `radgraph`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from itertools import islice
from typing import Any

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.radgraph import from_radgraph
from igcl_lightning.graphs.schema import ReportGraph

MODEL_TYPES = ("radgraph", "radgraph-xl", "modern-radgraph-xl")
"""Models of RadGraph (Jain et al., 2021) and RadGraph-XL (Delbrouck et al., 2024)."""

BATCH = 64  # texts per call of the model


class RadGraphModelParser:
    """A `ReportGraphParser` over the package `radgraph`, which downloads missing weights and tokenizes the reports.

    Args:
        model_type: one of `MODEL_TYPES`.

    Raises:
        IgclError: the model is unknown, or the package or the weights are missing.
    """

    def __init__(self, model_type: str = "modern-radgraph-xl") -> None:
        if model_type not in MODEL_TYPES:
            raise IgclError(f"--parser {model_type}: unknown model, expected one of {', '.join(MODEL_TYPES)}")
        self._name = f"--parser {model_type}"
        self._model = _load(model_type)
        self.version = f"{_package_version()}-{model_type}"

    def parse(self, text: str) -> ReportGraph:
        """Return the graph of one report.

        Raises:
            IgclError: the model returned no graph, or one that breaks RadGraph's layout.
        """
        return next(self.parse_many([text]))

    def parse_many(self, texts: Iterable[str]) -> Iterator[ReportGraph]:
        """Yield the graph of each report, in order; a blank text gives `ReportGraph("")` without the model.

        Raises:
            IgclError: the model returned no graph for a report, or one that breaks RadGraph's layout.
        """
        rest = iter(texts)
        while batch := list(islice(rest, BATCH)):
            stated = [text for text in batch if text.strip()]
            graphs = iter(self._read(stated) if stated else [])
            yield from (next(graphs) if text.strip() else ReportGraph("") for text in batch)

    def _read(self, texts: list[str]) -> list[ReportGraph]:
        with contextlib.redirect_stdout(sys.stderr):
            records: Mapping[str, Mapping[str, Any]] = self._model(texts)
        return [self._graph(records, index, text) for index, text in enumerate(texts)]

    def _graph(self, records: Mapping[str, Mapping[str, Any]], index: int, text: str) -> ReportGraph:
        # The package omits reports on which its model fails.
        if str(index) not in records:
            raise IgclError(f"{self._name}: no graph for the report that begins {text.strip()[:40]!r}; leave it out")
        try:
            return from_radgraph(records[str(index)])
        except ValueError as error:
            raise IgclError(f"{self._name}: report that begins {text.strip()[:40]!r}: {error}") from error


def _load(model_type: str) -> Any:
    try:
        from radgraph import RadGraph
    except ImportError as error:
        raise IgclError(
            f'--parser {model_type}: needs the package radgraph ({error}): python -m pip install -e ".[radgraph]"'
        ) from error
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return RadGraph(model_type=model_type)
    except Exception as error:  # the package raises bare `Exception` if the download of the weights fails
        raise IgclError(
            f"--parser {model_type}: the weights are missing or cannot be read ({error}); the package fetches them "
            "from huggingface.co/StanfordAIMI/RRG_scorers on first use, so run it once with a connection"
        ) from error


def _package_version() -> str:
    try:
        return f"radgraph-{metadata.version('radgraph')}"
    except metadata.PackageNotFoundError:
        return "radgraph"
