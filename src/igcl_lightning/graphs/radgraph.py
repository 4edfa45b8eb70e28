"""One report in RadGraph's layout <-> `ReportGraph`, and the policy for reports that break the layout.

The layout is that of RadGraph v1 (Jain et al., 2021) and RadGraph-XL (Delbrouck et al., 2024): `text` and `entities`;
an entity has an id, words `start_ix..end_ix` (inclusive) and relations to other ids. `graphs/radgraph_files.py` reads
files of reports and other layouts.

Policy for faults, each counted by kind and outcome:

| fault | outcome |
| --- | --- |
| report: no `text` or `entities`, or of another type; the labeler asked for is missing | report dropped |
| report: key repeated in the file | later one dropped |
| report: no entities | kept, an empty graph |
| entity: id (of sentences, a span) repeated in the report | later one dropped |
| entity: no dictionary | dropped |
| entity: unknown or missing label | dropped, with its relations |
| entity: a measurement that is uncertain or absent | repaired: a measurement without certainty |
| entity: unknown hedge | repaired: no hedge |
| entity: tokens missing or empty, at a span of the text | repaired: the words at the span |
| entity: tokens differ from the words at the span in case or white space only | repaired: the words at the span |
| entity: tokens differ from the words at the span | repaired: moved to the nearest words that match, else dropped |
| entity: span outside the text | repaired: moved to the nearest words that match, else dropped |
| entity: no span | repaired if exactly one place of the text matches the tokens, else dropped |
| relation: no pair of type and target, unknown type, unknown entity | dropped |
| relation: from or to an entity that was dropped | dropped |
| relation: of an entity with itself, or stated twice | kept |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from igcl_lightning.graphs.schema import HEDGES, LABEL_ID, RELATION_TYPES, Entity, Relation, ReportGraph

LONG_LABELS: dict[str, str] = {
    "Anatomy::definitely present": "ANAT-DP",
    "Observation::definitely present": "OBS-DP",
    "Observation::uncertain": "OBS-U",
    "Observation::definitely absent": "OBS-DA",
    "Anatomy::uncertain": "ANAT-U",
    "Anatomy::definitely absent": "ANAT-DA",
    "Anatomy::measurement::definitely present": "ANAT-M",
    "Observation::measurement::definitely present": "OBS-M",
}
"""Label names of RadGraph-XL, each with its short name."""

MEASUREMENTS: dict[str, str] = {
    f"{kind}::measurement::{certainty}": label
    for kind, label in (("Anatomy", "ANAT-M"), ("Observation", "OBS-M"))
    for certainty in ("uncertain", "definitely absent")
}
"""Rare labels of RadGraph-XL without a short name."""

RELATION_ORDER = "relation_order"
"""Key of the order of relations, in a record whose relations are not in the order of their heads."""

LabelNames: TypeAlias = Literal["v1", "xl"]
Outcome: TypeAlias = Literal["kept", "repaired", "dropped"]

_NAMES: dict[str, dict[str, str]] = {
    "v1": {label: label for label in LABEL_ID},
    "xl": {short: name for name, short in LONG_LABELS.items()},
}


@dataclass
class Faults:
    """Counter of faults in reports."""

    strict: bool = False  # raise at the first fault that is repaired or dropped; kept ones are still counted
    counts: Counter[str] = field(default_factory=Counter)  # by kind and outcome: "target missing: dropped"

    def note(self, kind: str, outcome: Outcome, message: str) -> None:
        """Count a fault; when strict, raise `ValueError` with this message."""
        if self.strict and outcome != "kept":
            raise ValueError(message)
        self.counts[f"{kind}: {outcome}"] += 1


def from_radgraph(record: Mapping[str, Any], faults: Faults | None = None) -> ReportGraph:
    """Return the graph of one report in RadGraph's layout.

    Args:
        record: `text` and `entities`, a dictionary by id of `tokens`, `label`, `start_ix`, `end_ix`, `relations`
            (`[type, target id]` each) and, in files of `igcl graphs`, `hedge`; ids are any strings, labels short
            ("OBS-DP") or long ("Observation::definitely present"). Spans count the words of `text.split()`.
        faults: counter of the faults; without it the first fault raises.

    Raises:
        ValueError: `text` or `entities` is missing, or, when strict, the report breaks the layout; the message names
            the entity.
    """
    faults = Faults(strict=True) if faults is None else faults
    for name in ("text", "entities"):
        if name not in record:
            raise ValueError(f"record: no {name!r}")
    words = _checked("text", record["text"], str, "a string").split()
    records = _entities(record, faults)
    read = {identity: _read_entity(identity, entity, words, faults) for identity, entity in records.items()}
    entities = {identity: entity for identity, entity in read.items() if entity is not None}
    index: dict[str, int | None] = {identity: None for identity in records}
    index |= {identity: position for position, identity in enumerate(entities)}
    relations: list[Relation] = []
    for identity, entity in records.items():
        relations += _read_relations(identity, entity, index, faults)
    _note_kept(relations, faults)
    return ReportGraph(
        " ".join(words), tuple(entities.values()), tuple(_ordered(relations, record.get(RELATION_ORDER)))
    )


def to_radgraph(graph: ReportGraph, labels: LabelNames = "v1") -> dict[str, Any]:
    """Return a graph in RadGraph's layout, the entities as "1", "2", ... in their order.

    `from_radgraph` returns an equal graph. Two keys extend RadGraph where needed: `hedge` of an entity, and
    `relation_order` if relations are not in the order of their heads.

    Args:
        graph: a graph whose words hold no white space, as those of every reader and parser.
        labels: "v1" for short label names ("OBS-DP"), "xl" for long ones ("Observation::definitely present").
    """
    entities = {str(number): _entity_record(entity, labels) for number, entity in enumerate(graph.entities, start=1)}
    for relation in graph.relations:
        entities[str(relation.head + 1)]["relations"].append([relation.type, str(relation.tail + 1)])
    record: dict[str, Any] = {"text": graph.text, "entities": entities}
    by_head = sorted(range(len(graph.relations)), key=lambda position: graph.relations[position].head)
    if by_head != list(range(len(by_head))):
        record[RELATION_ORDER] = by_head
    return record


def loose(text: str) -> str:
    """Return a text without white space and case, equal for all tokenizations of the same words."""
    return "".join(text.split()).casefold()


class RepeatedKeys(dict[str, Any]):
    """A JSON object with repeated keys: the first value of each key, and the repeated keys."""

    repeated: tuple[str, ...] = ()


def first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object from its members, repeated keys noted; an `object_pairs_hook` of `json`."""
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    first = RepeatedKeys()
    for key, value in pairs:
        first.setdefault(key, value)
    first.repeated = tuple(key for key, count in Counter(key for key, _ in pairs).items() for _ in range(count - 1))
    return first


def _checked(name: str, value: Any, kind: type, expected: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"record: {name!r} is a {type(value).__name__}, not {expected}")
    return value


def _entities(record: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """Return the entities by id; null and an empty list mean none."""
    entities = _checked("entities", record["entities"] or {}, Mapping, "a dictionary by id")
    if not entities:
        faults.note("report without entities", "kept", "record: no entities")
    for identity in entities.repeated if isinstance(entities, RepeatedKeys) else ():
        faults.note("repeated id", "dropped", f"entity {identity!r}: the report has this id twice")
    return {str(identity): entity for identity, entity in entities.items()}


def _read_entity(identity: str, entity: Any, words: list[str], faults: Faults) -> Entity | None:
    where = f"entity {identity!r}"
    if not isinstance(entity, Mapping):
        faults.note("not an entity", "dropped", f"{where}: expected a dictionary, found a {type(entity).__name__}")
        return None
    label = _read_label(where, entity, faults)
    if label is None or (span := _read_span(where, entity, words, faults)) is None:
        return None
    start, end = span
    return Entity(" ".join(words[start : end + 1]), label, start, end, _read_hedge(where, entity, faults))


def _read_label(where: str, entity: Mapping[str, Any], faults: Faults) -> str | None:
    name = entity.get("label")
    if isinstance(name, str) and name in MEASUREMENTS:
        faults.note("certainty of a measurement", "repaired", f"{where}: label {name!r} has no short name")
        return MEASUREMENTS[name]
    label = LONG_LABELS.get(name, name) if isinstance(name, str) else None
    if label in LABEL_ID:
        return label
    expected = f"unknown label {name!r}, expected one of {tuple(LABEL_ID)}"
    faults.note("unknown label", "dropped", f"{where}: {expected if 'label' in entity else 'no ' + repr('label')}")
    return None


def _read_hedge(where: str, entity: Mapping[str, Any], faults: Faults) -> str:
    hedge = entity.get("hedge", "")
    if hedge in HEDGES:
        return str(hedge)
    faults.note("unknown hedge", "repaired", f"{where}: unknown hedge {hedge!r}, expected one of {HEDGES}")
    return ""


def _read_span(where: str, entity: Mapping[str, Any], words: list[str], faults: Faults) -> tuple[int, int] | None:
    """Return the span of the words that equal the entity's tokens, or None."""
    tokens = entity["tokens"] if isinstance(entity.get("tokens"), str) else ""
    start, end = entity.get("start_ix"), entity.get("end_ix")
    if not isinstance(start, int) or not isinstance(end, int):
        missing = "end_ix" if isinstance(start, int) else "start_ix"
        return _moved("no span", f"{where}: no {missing!r} that is a number", tokens, None, words, faults)
    if not 0 <= start <= end < len(words):
        message = f"{where}: span {start}..{end} lies outside the text of {len(words)} words"
        return _moved("span outside the text", message, tokens, start, words, faults)
    written = " ".join(words[start : end + 1])
    if tokens == written:
        return start, end
    if not tokens.strip():
        faults.note("no tokens", "repaired", f"{where}: no 'tokens'")
        return start, end
    message = f"{where}: {tokens!r} is not at words {start}..{end}"
    if loose(tokens) == loose(written):
        faults.note("tokens written otherwise", "repaired", message)
        return start, end
    return _moved("tokens elsewhere", message, tokens, start, words, faults)


def _moved(
    kind: str, message: str, tokens: str, start: int | None, words: list[str], faults: Faults
) -> tuple[int, int] | None:
    """Return the place of the tokens nearest to `start`; without a start, the only place."""
    places = list(_places(loose(tokens), words)) if tokens.strip() else []
    if start is None:
        span = places[0] if len(places) == 1 else None
    else:
        span = min(places, key=lambda place: abs(place[0] - start), default=None)
    faults.note(kind, "dropped" if span is None else "repaired", message)
    return span


def _places(tokens: str, words: list[str]) -> Iterator[tuple[int, int]]:
    """Yield every span whose words equal the tokens, case and white space ignored."""
    for start in range(len(words)):
        text = ""
        for end in range(start, len(words)):
            text += loose(words[end])
            if text == tokens:
                yield start, end
            if not tokens.startswith(text):
                break


def _read_relations(identity: str, entity: Any, index: Mapping[str, int | None], faults: Faults) -> Iterator[Relation]:
    """Yield the relations of an entity; `index` holds the position of each entity, None for a dropped one."""
    where = f"entity {identity!r}"
    stated = (entity.get("relations") if isinstance(entity, Mapping) else None) or ()
    if not isinstance(stated, list | tuple):
        faults.note("not a relation", "dropped", f"{where}: relations are a {type(stated).__name__}")
        stated = ()
    for each in stated:
        if not isinstance(each, list | tuple) or len(each) != 2:
            faults.note("not a relation", "dropped", f"{where}: {each!r} is not [type, target]")
            continue
        kind, target = each[0], str(each[1])
        head, tail = index[identity], index.get(target)
        if kind not in RELATION_TYPES:
            message = f"{where}: unknown relation {kind!r}, expected one of {RELATION_TYPES}"
            faults.note("unknown relation", "dropped", message)
        elif target not in index:
            faults.note("target missing", "dropped", f"{where}: {kind} names entity {target!r}, which does not exist")
        elif head is None or tail is None:
            faults.note("relation of a dropped entity", "dropped", f"{where}: {kind} to {target!r} has a dropped end")
        else:
            yield Relation(head, kind, tail)


def _note_kept(relations: list[Relation], faults: Faults) -> None:
    seen: set[Relation] = set()
    for relation in relations:
        if relation in seen:
            faults.note("repeated relation", "kept", f"{relation} is stated twice")
        if relation.head == relation.tail:
            faults.note("self loop", "kept", f"{relation} joins an entity with itself")
        seen.add(relation)


def _ordered(relations: list[Relation], by_head: Any) -> list[Relation]:
    """Return relations, read in the order of their heads, in the order that the writer had them in."""
    if not isinstance(by_head, list) or not all(isinstance(position, int) for position in by_head):
        return relations
    if sorted(by_head) != list(range(len(relations))):
        return relations
    return [relation for _, relation in sorted(zip(by_head, relations, strict=True), key=lambda pair: pair[0])]


def _entity_record(entity: Entity, labels: LabelNames) -> dict[str, Any]:
    record: dict[str, Any] = {
        "tokens": entity.tokens,
        "label": _NAMES[labels][entity.label],
        "start_ix": entity.start,
        "end_ix": entity.end,
        "relations": [],
    }
    return record | {"hedge": entity.hedge} if entity.hedge else record
