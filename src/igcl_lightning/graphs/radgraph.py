"""RadGraph JSON <-> `ReportGraph`.

The layout is that of RadGraph v1 (Jain et al., 2021): a dictionary by report, each with `text` and `entities`; an
entity has an id, words `start_ix..end_ix` (inclusive) and relations to other ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

LONG_LABELS: dict[str, str] = {
    "Anatomy::definitely present": "ANAT-DP",
    "Observation::definitely present": "OBS-DP",
    "Observation::uncertain": "OBS-U",
    "Observation::definitely absent": "OBS-DA",
}
"""The labels of RadGraph-XL that RadGraph v1 has too."""


def from_radgraph(record: Mapping[str, Any]) -> ReportGraph:
    """Return the graph of one report in RadGraph's layout.

    Args:
        record: `text` and `entities`, a dictionary by id of `tokens`, `label`, `start_ix`, `end_ix` and `relations`
            (`[type, target id]` each); ids are any strings, labels short ("OBS-DP") or long
            ("Observation::definitely present").

    Raises:
        ValueError: a key is missing, a span lies outside the text or does not hold the entity's tokens, a label or
            relation is unknown, or a relation names an entity that does not exist. The message names the entity.
    """
    text = " ".join(_require(record, "text", "record").split())
    entities: Mapping[str, Mapping[str, Any]] = _require(record, "entities", "record")
    index = {entity_id: position for position, entity_id in enumerate(entities)}
    words = text.split(" ") if text else []
    return ReportGraph(
        text,
        tuple(_read_entity(entity_id, entity, words) for entity_id, entity in entities.items()),
        tuple(
            _read_relation(entity_id, relation, index)
            for entity_id, entity in entities.items()
            for relation in entity.get("relations", ())
        ),
    )


def to_radgraph(graph: ReportGraph) -> dict[str, Any]:
    """Return a graph in RadGraph's layout, the entities as "1", "2", ... in their order.

    Reading it back gives an equal graph when the relations are in the order of their heads, as the readers and the
    parser leave them.
    """
    entities: dict[str, dict[str, Any]] = {
        str(number): {
            "tokens": entity.tokens,
            "label": entity.label,
            "start_ix": entity.start,
            "end_ix": entity.end,
            "relations": [],
        }
        for number, entity in enumerate(graph.entities, start=1)
    }
    for relation in graph.relations:
        entities[str(relation.head + 1)]["relations"].append([relation.type, str(relation.tail + 1)])
    return {"text": graph.text, "entities": entities}


def read_radgraph(path: str | Path) -> dict[str, ReportGraph]:
    """Return the graphs of a whole RadGraph file by report (`train.json`, `MIMIC-CXR_graphs.json`, ...).

    Raises:
        ValueError: the file is no JSON dictionary, or a report breaks the layout; the message names file, report and
            entity.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    try:
        records = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name}: not JSON: {error}") from error
    if not isinstance(records, dict):
        raise ValueError(f"{path.name}: expected a dictionary of reports, found a {type(records).__name__}")
    return {report: _read_report(record, f"{path.name}: report {report!r}") for report, record in records.items()}


def _read_report(record: Any, where: str) -> ReportGraph:
    if not isinstance(record, dict):
        raise ValueError(f"{where}: expected a dictionary, found a {type(record).__name__}")
    try:
        return from_radgraph(record)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _read_entity(entity_id: str, entity: Mapping[str, Any], words: list[str]) -> Entity:
    where = f"entity {entity_id!r}"
    tokens, label, start, end = (_require(entity, key, where) for key in ("tokens", "label", "start_ix", "end_ix"))
    if not 0 <= start <= end < len(words):
        raise ValueError(f"{where}: span {start}..{end} lies outside the text of {len(words)} words")
    if " ".join(words[start : end + 1]) != tokens:
        raise ValueError(f"{where}: {tokens!r} does not stand at words {start}..{end}")
    try:
        return Entity(tokens, LONG_LABELS.get(label, label), start, end)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _read_relation(entity_id: str, relation: tuple[str, str], index: Mapping[str, int]) -> Relation:
    relation_type, target = relation
    if target not in index:
        raise ValueError(f"entity {entity_id!r}: {relation_type} names entity {target!r}, which does not exist")
    try:
        return Relation(index[entity_id], relation_type, index[target])
    except ValueError as error:
        raise ValueError(f"entity {entity_id!r}: {error}") from error


def _require(record: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in record:
        raise ValueError(f"{where}: no {key!r}")
    return record[key]
