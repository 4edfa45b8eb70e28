"""Image files and report texts -> tensors, exactly as made for training by `igcl prepare` and the loaders.

Checkpoints store the record of how inputs were made.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch_geometric.data import Batch

from igcl_lightning import __version__
from igcl_lightning.data.images import decode_grey
from igcl_lightning.data.pictures.raster import grey_pixels, to_grey
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.preparing.report_text import POINTER, UNREADABLE, read_report, report_text
from igcl_lightning.data.preparing.row_images import store_image
from igcl_lightning.data.preparing.study_rows import node_text
from igcl_lightning.data.store import StoreDescription
from igcl_lightning.data.study import REPORT_SECTIONS, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.parser import default_parser
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.graphs.tokens import ReportTokenizer

ImageInput = str | Path | Image.Image | np.ndarray
"""Path of an image file that `igcl prepare` reads, an opened image, or grey values [H, W]."""

ReportInput = str | Mapping[str, str] | ReportGraph
"""The text of a report, split at its headers; its texts by section (`study.REPORT_SECTIONS`); or its graph."""


def describe_inputs(data: Any, words: bool = False) -> dict[str, Any] | None:
    """Return the record of how the inputs of a data module were made, as plain data; None if it reads no store.

    Args:
        data: the data module.
        words: whether the record lists the words of the training reports (see `training_words`).

    Returns:
        `options` of `igcl prepare`; `parser`, its version; `node_text`, the language model of the nodes if it is used;
        `tokenizer`, its arguments; `words` by side; `labels` and `views` of the data module; `store`, its source with
        the label policy, and its fingerprint; `training`, the share of the training pairs and the errors in their
        reports, if there is one. What is unknown is None.
    """
    store = getattr(data, "store", None)
    if not isinstance(store, StoreDescription):
        return None
    manifest, tokenizer = store.manifest, getattr(data, "tokenizer", None)
    return {
        "igcl_lightning": __version__,
        "options": manifest.get("options"),
        "parser": manifest.get("parser"),
        "node_text": manifest.get("node_text") if getattr(data, "node_text", False) else None,
        "tokenizer": tokenizer.described() if isinstance(tokenizer, ReportTokenizer) else None,
        "words": data.training_words() if words and hasattr(data, "training_words") else None,
        "labels": list(getattr(data, "label_names", store.labels)),
        "views": None if store.views is None else list(store.views),
        "store": {
            "source": manifest.get("source"),
            "fingerprint": store.fingerprint,
            "igcl_lightning": manifest.get("igcl_lightning"),
        },
        **({"training": training} if (training := getattr(data, "training_setting", None)) else {}),
    }


def differences(trained: Mapping[str, Any], here: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    """Return the differences between two records, such as "size 256 (here 320)".

    Args:
        trained: record of a checkpoint.
        here: record of a data module.
        kinds: inputs of the module: "image", "graph", "report", "label"; others are ignored.
    """
    first, second = _compared(trained), _compared(here)
    names = dict.fromkeys(name for kind in kinds for name in COMPARED.get(kind, ()))
    return [f"{name} {first[name]} (here {second[name]})" for name in names if first[name] != second[name]]


COMPARED = {
    "image": ("size", "fit"),
    "graph": ("sections", "parser", "node text"),
    "report": ("sections", "parser", "tokenizer", "max_tokens"),
    "label": ("uncertain", "blank"),
}
"""Relevant entries of a record for each kind of input."""


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    options, tokenizer, text = (record.get(name) or {} for name in ("options", "tokenizer", "node_text"))
    policy = (record.get("store") or {}).get("source") or {}
    return {
        **{name: options.get(name) for name in ("size", "fit", "sections")},
        "parser": record.get("parser"),
        "node text": text.get("model"),
        "tokenizer": tokenizer.get("model"),
        "max_tokens": tokenizer.get("max_tokens"),
        **{name: policy.get(name) for name in ("uncertain", "blank")},
    }


class InputReader:
    """Turns images and reports into tensors, as `igcl prepare` and the loaders do for training.

    Args:
        record: record of the training data, from `describe_inputs`; raises `IgclError` if it is incomplete.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        try:
            known = {field.name for field in fields(Options)}
            options = {name: value for name, value in record["options"].items() if name in known}
            if not options:
                raise KeyError("options")
            self.options = Options(**options | {"views": tuple(options.get("views", ()))})
        except (KeyError, TypeError, AttributeError) as error:
            said = "the preprocessing is unknown: the training store was not made by igcl prepare"
            raise IgclError(said) from error

    def batches(self, kind: str, inputs: Any, size: int) -> Iterator[Any]:
        """Yield inputs in batches of at most `size` on the CPU, one batch in memory at a time.

        Args:
            kind: "image", "graph", "report" or "report and graph" (a tuple), the content of the batches.
            inputs: one or several `ImageInput` for images, otherwise `ReportInput`.
            size: inputs per batch.

        Raises:
            IgclError: an image or a report cannot be read, or `size` is below 1.
        """
        readers: dict[str, Callable[[list[Any]], Any]]
        readers = {"image": self.images, "graph": self.graphs, "report": self.reports}
        readers["report and graph"] = lambda reports: (self.reports(reports), self.graphs(reports))
        if size < 1:
            raise IgclError(f"batch_size is {size}, not at least 1")
        single = isinstance(inputs, ImageInput | Mapping | ReportGraph) or not isinstance(inputs, Iterable)
        remaining = iter([inputs] if single else inputs)
        while batch := list(islice(remaining, size)):
            yield readers[kind](batch)

    def images(self, images: Iterable[ImageInput]) -> Tensor:
        """Return B images as a store holds them, uint8 [B, 1, size, size]; raises `IgclError` if one cannot be read."""
        return torch.from_numpy(np.stack([self._stored(image) for image in images]))[:, None]

    def graphs(self, reports: Iterable[ReportInput]) -> Batch:
        """Return the graphs of B reports, as `PairBatch.graph` holds them."""
        graphs = [self.parsed(report) for report in reports]
        features = [self._node_text(graph) for graph in graphs] if self.record.get("node_text") else []
        return featurize(graphs, np.concatenate(features) if features else None)

    def reports(self, reports: Iterable[ReportInput]) -> Batch:
        """Return the tokens of B reports, as `PairBatch.report` holds them."""
        return self._tokenizer([self.parsed(report).text for report in reports])

    @cached_property
    def _tokenizer(self) -> ReportTokenizer:
        return ReportTokenizer(**(self.record.get("tokenizer") or {}))

    def _stored(self, image: ImageInput) -> np.ndarray:
        """Return one image as a store holds it, JPEG compression included, uint8 [size, size]."""
        source: Path | np.ndarray
        if isinstance(image, Image.Image):
            try:
                source = grey_pixels(image)
            except (OSError, ValueError, SyntaxError) as error:  # an opened file that is not yet read
                raise IgclError(f"the image cannot be decoded ({error})") from error
        elif isinstance(image, np.ndarray):
            source = to_grey(image)
        elif isinstance(image, str | Path):
            source = Path(image)
        else:
            raise IgclError(f"an image is a path, a PIL image or grey values [H, W], not {type(image).__name__}")
        return decode_grey(store_image(StudyImage("", source), self.options).content)

    def parsed(self, report: ReportInput) -> ReportGraph:
        """Return the graph of a report; raises `IgclError` if it cannot be read."""
        if isinstance(report, ReportGraph):
            return report
        given = {"report": report} if isinstance(report, str) else report
        if not isinstance(given, Mapping) or not all(isinstance(text, str) for text in given.values()):
            raise IgclError(f"a report is its text, or its texts by section, not {type(report).__name__}")
        if unknown := [name for name in given if name not in REPORT_SECTIONS]:
            raise IgclError(f"a report has no section {unknown[0]!r}, only {', '.join(REPORT_SECTIONS)}")
        sections, state, detail, _ = read_report(given, self.options)
        if state in (POINTER, UNREADABLE):
            raise IgclError(detail)
        parser = default_parser(self.options.any_language)
        _warn_of_other_rules(self.record.get("parser"), parser.version)
        return parser.parse(report_text(sections, self.options.sections, self.options.headers))

    def _node_text(self, graph: ReportGraph) -> np.ndarray:
        """Return the features of a graph's nodes, float32 [N, D]; the language model must be that of training."""
        model, wanted = node_text(str(self.options.node_text), self.options.node_text_word), self.record["node_text"]
        if model.name != wanted.get("model"):
            raise IgclError(f"node text: {self.options.node_text} is {model.name}, the model was trained on {wanted}")
        return model(graph).astype(np.float32)


@cache
def _warn_of_other_rules(then: str | None, now: str) -> None:
    """Warn once that reports were parsed by other rules in training."""
    if then != now:
        warnings.warn(f"the training reports were parsed by {then}, this one by {now}: graphs may differ", stacklevel=2)
