"""Which observations a sentence affirms, doubts and denies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from igcl_lightning.graphs.lexicon import Match
from igcl_lightning.graphs.phrases import CONCLUSIONS, FAR, PLACES, Phrase

REACH = 6
"""A denial or doubt speaks about nothing that starts more words away than this."""

_STATEMENT_ENDS = frozenset({"break", "with"})


def assert_labels(items: Sequence[Match], phrases: Sequence[Phrase], matches: Sequence[Match]) -> list[str]:
    """Return the observation label of each item: present, or uncertain under a doubt, or absent under a denial."""
    labels = ["OBS-DP"] * len(items)
    for phrase in phrases:
        if phrase.follows == "may suggest":
            _mark(labels, phrase.items, "OBS-U")
    for role, label in (("hedges", "OBS-U"), ("negation", "OBS-DA")):
        for cue in matches:
            if cue.role == role:
                _mark(labels, _scope(cue, items, phrases), label)
    return labels


def _mark(labels: list[str], indices: Iterable[int], label: str) -> None:
    for index in indices:
        labels[index] = label


def _scope(cue: Match, items: Sequence[Match], phrases: Sequence[Phrase]) -> Iterator[int]:
    """Yield the items that a cue of denial or doubt speaks about."""
    if cue.kind in {"before", "between"}:
        yield from _scope_after(cue, items, phrases)
    if cue.kind in {"after", "between"}:
        yield from _scope_before(cue, items, phrases)


def _scope_after(cue: Match, items: Sequence[Match], phrases: Sequence[Phrase]) -> Iterator[int]:
    """Yield the items after a cue up to the end of its list."""
    start = next((n for n, phrase in enumerate(phrases) if items[phrase.items[-1]].start > cue.end), None)
    if start is None or phrases[start].since > cue.start:
        return
    covered = [index for index in phrases[start].items if items[index].start > cue.end]
    if items[covered[0]].start - cue.end > REACH:
        return
    yield from covered
    closed = False
    following = phrases[start + 1 :]
    for phrase, after in zip(following, [*following[1:], None], strict=False):
        if phrase.follows in _STATEMENT_ENDS or phrase.foreign > FAR:
            return
        closed = closed or phrase.said
        if phrase.listed and (closed or _new_statement(phrase, after, items)):
            return
        if cue.role == "hedges" and ((phrase.listed and not phrase.choice) or phrase.follows in CONCLUSIONS):
            return
        yield from phrase.items


def _new_statement(phrase: Phrase, after: Phrase | None, items: Sequence[Match]) -> bool:
    """Say whether a listed phrase starts a statement of its own: "the ...", a normal or stable thing, a new subject."""
    subject = not phrase.observations and after is not None and after.follows == "predicate"
    kinds = [items[index].kind for index in phrase.items]
    return phrase.opens or subject or kinds[0] == "stability" or "normal" in kinds


def _scope_before(cue: Match, items: Sequence[Match], phrases: Sequence[Phrase]) -> Iterator[int]:
    """Yield the items before a cue back to the start of their list; "versus" speaks about its neighbour alone."""
    at = next((n for n in reversed(range(len(phrases))) if items[phrases[n].items[0]].end < cue.start), -1)
    while at >= 0:
        phrase = phrases[at]
        yield from (index for index in phrase.items if items[index].end < cue.start and items[index].kind != "normal")
        before = phrases[at - 1] if at else None
        listed = phrase.follows == "list" and cue.kind == "after" and before and before.follows != "predicate"
        if phrase.follows not in PLACES and not listed:
            return
        at -= 1
