"""Files of RadGraph graphs, in any of RadGraph's layouts, detected from the content.

A file is a JSON dictionary by report, a JSON list, or JSON lines. Each of its reports is one of

- `{"text", "entities"}`: RadGraph 1.0.0, RadGraph-XL, RadGraph-IT, and our own `igcl graphs`, which adds "id";
- `{"text", "labeler_1": {"entities"}, "labeler_2": {"entities"}}`: `test.json` of RadGraph 1.0.0;
- `{"0": {"text", "entities"}}`: result of the radgraph package for one report; CheXpert Plus is a list of these, in the
  order of the rows of its table that have the section;
- `{"dataset", "doc_key", "sentences", "ner", "relations"}`: the release of RadGraph-XL. Its `relations` are
  read as documented by DyGIE++, `[head start, head end, tail start, tail end, type]`, not tested on an example. Spans
  count the words of the document; the lists may be nested by sentence or flat.

The key of a report without one is its position in the file, "0", "1", ...
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from igcl_lightning.atomic import replacing
from igcl_lightning.graphs.radgraph import Faults, LabelNames, first_of_each, from_radgraph, to_radgraph
from igcl_lightning.graphs.schema import ReportGraph

ID_KEYS = ("id", "doc_key", "path_to_image", "report_path", "path", "study_id", "study")
"""Keys of a report's name in a list or on a line, by precedence."""

LABELERS = ("labeler_1", "labeler_2")

_MEMBERS = frozenset(
    ("text", "entities", "data_source", "data_split", "dataset", "sentences", "ner", *LABELERS, *ID_KEYS)
)
"""First keys in the record of a single report; not names of reports."""


@dataclass(frozen=True)
class RadGraphFile:
    """Contents of a file of graphs."""

    name: str  # name of the file
    layout: str  # such as "JSON by report" or "JSON lines of sentences"
    graphs: Mapping[str, ReportGraph]  # by the reports' keys in the file; "dataset/doc_key" for sentences
    positional: bool = False  # whether the keys are the positions of the reports in the file
    counts: Mapping[str, int] = field(default_factory=Counter)  # faults by kind and outcome, as in `Faults`


def read_radgraph(path: str | Path, *, strict: bool = False, labeler: str = LABELERS[0]) -> RadGraphFile:
    """Read a file of graphs in any of RadGraph's layouts.

    Reports are decoded one by one; files other than JSON lines are held in memory as text.

    Args:
        path: path of the file.
        strict: raise at the first fault that would be repaired or dropped.
        labeler: labeler whose entities are read from reports with two.

    Raises:
        ValueError: the file is not JSON, none of its reports can be read, or, when strict, a report breaks the layout;
            the message names file, report and entity.
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    faults = Faults(strict)
    graphs: dict[str, ReportGraph] = {}
    layout, positional, broken = "empty", True, ""
    for place, (container, name, value) in enumerate(_values(path)):
        layout = layout if place else container + _form(value)
        key = _key(value, place) if name is None else name
        positional &= key == str(place)
        try:
            if key in graphs:
                faults.note("repeated report", "dropped", "the key is repeated in the file")
            counter = Faults() if key in graphs else faults  # faults of a dropped report do not count
            graph = from_radgraph(_record(value, labeler, counter), counter)
        except ValueError as error:
            broken = broken or f"{path.name}: report {key!r}: {error}"
            if strict:
                raise ValueError(broken) from error
            faults.note("not a report", "dropped", broken)
        else:
            graphs.setdefault(key, graph)
    if broken and not graphs:
        raise ValueError(broken)
    return RadGraphFile(path.name, layout, graphs, positional and bool(graphs), faults.counts)


def write_radgraph(graphs: Mapping[str, ReportGraph], path: str | Path, labels: LabelNames = "v1") -> None:
    """Write graphs in RadGraph's layout; `read_radgraph` returns equal graphs.

    Args:
        graphs: graphs by report.
        path: path of the file, written atomically: JSON lines, as `igcl graphs` writes them, if it ends in `.jsonl`,
            or a dictionary by report, as in RadGraph 1.0.0.
        labels: "v1" for short label names, "xl" for long ones.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    path = Path(path)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            for key, graph in graphs.items():
                file.write(json.dumps({"id": key, **to_radgraph(graph, labels)}, ensure_ascii=False) + "\n")
        else:
            records = {key: to_radgraph(graph, labels) for key, graph in graphs.items()}
            json.dump(records, file, ensure_ascii=False)


def _values(path: Path) -> Iterator[tuple[str, str | None, Any]]:
    """Yield the layout of the file, and the key and value of each report."""
    where = path.name
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = [line for _, line in zip(range(2), filter(str.strip, file), strict=False)]
            if len(head) == 2 and _is_json(head[0]):
                for number, line in enumerate(filter(str.strip, chain(head, file)), start=1):
                    where = f"{path.name} line {number}"
                    yield "JSON lines", None, json.loads(line, object_pairs_hook=first_of_each)
            elif head:
                yield from _members("".join([*head, *file]).strip(), path.name)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: not JSON: no text in UTF-8") from error


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def _members(text: str, name: str) -> Iterator[tuple[str, str | None, Any]]:
    """Yield the members of one JSON value, decoded lazily; a single report is its only member."""
    if text[0] not in "{[":
        kind = type(json.loads(text)).__name__
        raise ValueError(f"{name}: expected a dictionary or a list of reports, found a {kind}")
    container = "JSON by report" if text[0] == "{" else "JSON list"
    for place, (key, value) in enumerate(_decoded(text)):
        if not place and key in _MEMBERS:
            yield "JSON of one report", None, json.loads(text, object_pairs_hook=first_of_each)
            return
        yield container, key, value


def _decoded(text: str) -> Iterator[tuple[str | None, Any]]:
    """Yield key and value of each member of a JSON object, or None and each element of a JSON array."""
    decoder = json.JSONDecoder(object_pairs_hook=first_of_each)
    closing = "}" if text[0] == "{" else "]"
    position = _after("", text, 1)
    while not text.startswith(closing, position):
        key = None
        if closing == "}":
            key, position = decoder.raw_decode(text, position)
            position = _after(":", text, position)
        value, position = decoder.raw_decode(text, position)
        yield key, value
        position = _after("", text, position)
        if not text.startswith(closing, position):
            position = _after(",", text, position)
            if text.startswith(closing, position):
                raise json.JSONDecodeError("Expecting value", text, position)
    if position + 1 < len(text):
        raise json.JSONDecodeError("Extra data", text, position + 1)


def _after(delimiter: str, text: str, position: int) -> int:
    """Return the position after a delimiter and the white space around it."""
    found = re.compile(rf"\s*{delimiter}\s*").match(text, position)
    if found is None:
        raise json.JSONDecodeError(f"Expecting {delimiter!r} delimiter", text, position)
    return found.end()


def _form(value: Any) -> str:
    """Return the suffix of the layout's name for the form of a report's record."""
    if not isinstance(value, dict) or "entities" in value:
        return ""
    if "sentences" in value:
        return " of sentences"
    if any(name.startswith("labeler_") for name in value):
        return " with labelers"
    return " of package results" if "text" not in value else ""


def _key(value: Any, place: int) -> str:
    """Return the key of a report in a list or on a line."""
    named = value if isinstance(value, dict) else {}
    key = next((named[name] for name in ID_KEYS if isinstance(named.get(name), str | int)), place)
    return f"{named['dataset']}/{key}" if "sentences" in named and "dataset" in named else str(key)


def _record(value: Any, labeler: str, faults: Faults) -> Mapping[str, Any]:
    """Return a record with `text` and `entities` of a report in any form.

    Raises:
        ValueError: it has none of the forms, or lacks the labeler.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected a dictionary, found a {type(value).__name__}")
    if "entities" in value:
        return value
    if "sentences" in value:
        return _from_sentences(value, faults)
    if labelers := [name for name in value if name.startswith("labeler_")]:
        if not isinstance(value.get(labeler), dict):
            raise ValueError(f"no {labeler!r}; it has {', '.join(map(repr, labelers))}")
        return {**value, **value[labeler]}
    results = list(value.values())
    if results and "text" not in value and all(isinstance(result, dict) for result in results):
        if len(results) > 1:
            raise ValueError(f"{len(results)} results under one key: {', '.join(map(repr, value))}")
        return _record(results[0], labeler, faults)
    return value


def _from_sentences(value: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """Return a report of the RadGraph-XL release as `text` and `entities`, with spans as ids."""
    sentences = _list(value, "sentences")
    if not all(isinstance(sentence, list) for sentence in sentences):
        raise ValueError("'sentences' contains more than lists of tokens")
    words = list(chain.from_iterable(sentences))
    if not all(isinstance(word, str) and word.split() == [word] for word in words):
        raise ValueError("'sentences' contains a token that is empty or has white space: spans could not be counted")
    entities: dict[str, dict[str, Any]] = {}
    for stated in _flat(value, "ner"):
        _add_entity(stated, words, entities, faults)
    for stated in _flat(value, "relations"):
        _add_relation(stated, entities, faults)
    return {"text": " ".join(words), "entities": entities}


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name) or []
    if not isinstance(found, list):
        raise ValueError(f"{name!r} is a {type(found).__name__}, not a list")
    return found


def _flat(value: Mapping[str, Any], name: str) -> Iterator[Any]:
    """Yield the items of a list that is flat or nested by sentence."""
    for item in _list(value, name):
        if isinstance(item, list) and all(isinstance(inner, list) for inner in item):
            yield from item
        else:
            yield item


def _add_entity(stated: Any, words: list[str], entities: dict[str, dict[str, Any]], faults: Faults) -> None:
    if not _starts_with_numbers(stated, 2):
        faults.note("not an entity", "dropped", f"ner: {stated!r} is not [start, end, label]")
        return
    start, end, label = stated[:3]
    identity = f"{start}-{end}"
    if identity in entities:
        faults.note("repeated id", "dropped", f"entity {identity!r}: the report has this span twice")
        return
    tokens = " ".join(words[max(start, 0) : end + 1])
    entities[identity] = {"tokens": tokens, "label": label, "start_ix": start, "end_ix": end, "relations": []}


def _add_relation(stated: Any, entities: dict[str, dict[str, Any]], faults: Faults) -> None:
    if not _starts_with_numbers(stated, 4):
        message = f"relations: {stated!r} is not [head start, head end, tail start, tail end, type]"
        faults.note("not a relation", "dropped", message)
        return
    head, tail, relation = f"{stated[0]}-{stated[1]}", f"{stated[2]}-{stated[3]}", stated[4]
    if head in entities:
        entities[head]["relations"].append([relation, tail])
    else:
        faults.note("head missing", "dropped", f"entity {head!r}: {relation} starts here, but there is no entity")


def _starts_with_numbers(stated: Any, count: int) -> bool:
    """Return whether a list starts with this many numbers and a name; DyGIE++ appends scores."""
    return isinstance(stated, list) and len(stated) > count and all(isinstance(item, int) for item in stated[:count])
