"""Prompts: statements of a label and what denies them, as text and graph at once, made by rule without a parser.

`prompts.tsv` has those of CheXpert's labels, and of labels that other data sets have; its header explains the marks,
which a user's own file shares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from itertools import product
from pathlib import Path
from typing import NamedTuple

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph, join_graphs

PACKAGED = "prompts.tsv"

_CHOICE = re.compile(r"\{([^{}]*)\}")
_EMPTY = re.compile(r"[\[(][-?]?\s*[\])]")
_PART = re.compile(r"\[([-?]?)([^\[\](){}]+)\]|\(([^\[\](){}]+)\)|([^\s\[\](){}]+)")
_ASSERTED = {"": ("OBS-DP", ""), "?": ("OBS-U", "possible"), "-": ("OBS-DA", "")}


class PromptLine(NamedTuple):
    """A line of a file of prompts: a label, a statement with marks, and its denial, "" if it follows by rule.

    Other names of the label may follow it, separated by "|".
    """

    label: str
    present: str
    absent: str = ""

    @property
    def name(self) -> str:
        """Return the label without its other names."""
        return self.label.partition("|")[0].strip()

    def is_of(self, label: str) -> bool:
        """Return whether the line is of a label, however it is spelt."""
        return _spelt_alike(label) in map(_spelt_alike, self.label.split("|"))


class Prompt(NamedTuple):
    """What states a label, and what denies it."""

    label: str
    present: ReportGraph
    absent: ReportGraph


def read_prompts(path: Path | None = None) -> list[PromptLine]:
    """Return the lines of a file of prompts, by default the one of this package.

    Raises:
        IgclError: the file is missing or has no prompts, or a line, which is named, cannot be read.
    """
    try:
        file = resources.files(__package__).joinpath(PACKAGED) if path is None else path
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IgclError(f"{path}: no file of prompts that can be read ({type(error).__name__})") from None
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            try:
                lines.append(_line(line))
            except IgclError as error:
                raise IgclError(f"{path or PACKAGED} line {number}: {error}") from None
    if not lines:
        raise IgclError(f"{path}: no prompts in it; a line is a label, a tab and a statement such as [small] [nodule]")
    return lines


def _line(line: str) -> PromptLine:
    cells = [cell.strip() for cell in line.split("\t")]
    if not 2 <= len(cells) <= 3 or not all(cells[:2]):
        raise IgclError("not a label, a tab and a statement of it, and perhaps a tab and its denial")
    read = PromptLine(*cells)
    make_prompts([read])
    return read


def _spelt_alike(label: str) -> str:
    """Return a label in small letters, with a space for each "_"."""
    return label.replace("_", " ").strip().casefold()


def make_prompts(lines: Iterable[PromptLine]) -> list[Prompt]:
    """Return the prompts of lines in their order, one for each choice of words; `IgclError` for marks that are wrong.

    If a denial has choices too, the statement's choices take them in turn.
    """
    made = []
    for line in lines:
        denials = _choices(line.absent or _denied(line.present))
        for number, statement in enumerate(_choices(line.present)):
            made.append(Prompt(line.name, _graph(statement), _graph(denials[number % len(denials)])))
    return made


def joined_prompts(prompts: Sequence[Prompt], statements: int) -> list[Prompt]:
    """Return prompts that each state their label several times in different words, as reports do.

    Each begins with one of the given prompts; a label with fewer than `statements` is stated as often as it can be.
    """
    joined = []
    for label in dict.fromkeys(prompt.label for prompt in prompts):
        own = [prompt for prompt in prompts if prompt.label == label]
        times = min(statements, len(own))
        steps = [len(own) * step // times for step in range(times)]
        for first in range(len(own)):
            said = [own[(first + step) % len(own)] for step in steps]
            both = (join_graphs(getattr(each, name) for each in said) for name in ("present", "absent"))
            joined.append(Prompt(label, *both))
    return joined


def _choices(marked: str) -> list[str]:
    """Return a statement with each choice of words, without brackets that a choice leaves empty."""
    parts = [part.split("|") if number % 2 else [part] for number, part in enumerate(_CHOICE.split(marked))]
    return [_EMPTY.sub("", "".join(chosen)) for chosen in product(*parts)]


def _denied(present: str) -> str:
    """Return the denial of a statement: "no", and what it says apart from choices."""
    return "no " + re.sub(r"\[[-?]?", "[-", _EMPTY.sub("", _CHOICE.sub("", present)))


def _graph(marked: str) -> ReportGraph:
    """Return the graph of a statement with marks, a sentence that ends with a full stop."""
    if re.search(r"[\[\](){}]", _PART.sub("", marked)):
        raise IgclError(f"{marked!r}: a bracket that is not closed, or is empty, or is inside of another")
    words: list[str] = []
    entities: list[Entity] = []
    relations: list[Relation] = []
    observations: list[int] = []
    places: list[int] = []
    for sign, observation, place, word in _PART.findall(marked):
        if word:
            words.append(word)
            continue
        label, hedge = ("ANAT-DP", "") if place else _ASSERTED[sign]
        first = len(entities)
        for tokens in (each.replace("_", " ") for each in (place or observation).split()):
            end = len(words) + tokens.count(" ")
            entities.append(Entity(tokens, label, len(words), end, hedge))
            words += tokens.split()
        last = len(entities) - 1
        (places if place else observations).append(last)
        relations += [Relation(each, "modify", last) for each in range(first, last)]
    if not observations:
        raise IgclError(f"{marked.strip()!r}: no observation in square brackets; give the denial a column of its own")
    *others, head = observations
    relations += [Relation(each, "modify", head) for each in others]
    relations += [Relation(head, "located_at", each) for each in places]
    return ReportGraph(" ".join([*words, "."]), tuple(entities), tuple(relations))


def prompt_words(graph: ReportGraph, side: str) -> set[str]:
    """Return the words of a prompt in lower case that a model reads: of its entities ("graph"), or all ("report")."""
    texts = [entity.tokens for entity in graph.entities] if side == "graph" else [graph.text]
    return {word for text in texts for word in text.lower().split()}
