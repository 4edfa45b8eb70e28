"""A protocol: what an evaluation asks of contestants, on which rows, and with which statistics.

A protocol is a dataclass, whose fields are the options in its YAML (`configs/protocol/`). It says which contestants and
stores it can serve before anything runs; it is measured in parts, each a table that is kept as a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import pandas as pd

from igcl_lightning.data.label_policy import RESERVED
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.classes import format_classes, summarise_classes
from igcl_lightning.evaluation.decisions import VALID, format_decisions, summarise_decisions
from igcl_lightning.evaluation.many_rows import REST, are_many, format_compared
from igcl_lightning.evaluation.results import Record, summarise
from igcl_lightning.evaluation.subgroups import format_groups, summarise_groups
from igcl_lightning.evaluation.tables import format_table
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.matching import SCORES
from igcl_lightning.protocols.contestants import FLOORS, PREDICTIONS, Contestant
from igcl_lightning.protocols.groups import check_groups, group_table
from igcl_lightning.protocols.pictures import Examples

NOT_EVALUATED = "No Finding"
"""Label that is not evaluated unless it is asked for: it is the absence of the others."""

Part = Mapping[str, float | int]
"""One part of a protocol, as plain values that name its file, such as {"fraction": 0.1}."""


@dataclass(frozen=True)
class Protocol(ABC):
    """Base class of protocols.

    Args:
        splits: splits whose rows are evaluated; statistics and tables are of each.
        labels: labels to evaluate (default: all of the store but "No Finding").
    """

    splits: list[str] = field(default_factory=lambda: ["test"])
    labels: list[str] | None = None

    name: ClassVar[str]
    phantoms: ClassVar[str] = ""
    """Variant of the phantoms that are asked, "" for those that are trained on; any other store is asked itself."""

    scores: ClassVar[str] = PREDICTIONS
    """File of the scores in `--out`; two protocols whose runs have the same method, setting and seed have one each."""

    statistics: ClassVar[tuple[str, ...]] = ()
    """Options that no part depends on, apart from what `settings` adds."""

    @property
    def phantoms_seed(self) -> int:
        """Seed of the phantoms that are asked, where `phantoms` names some."""
        return 0

    @abstractmethod
    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it can."""

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` for options that are wrong, a store that cannot be asked, or a contestant that fails."""
        for name, given in (("splits", self.splits), ("labels", self.labels)):
            if given is not None and not given:
                raise IgclError(f"protocol {self.name}: {name} is empty")
        for name, values in (("splits", self.splits), ("labels", self.labels or [])):
            if len(set(values)) < len(values):
                raise IgclError(f"protocol {self.name}: {name} are {', '.join(values)}: one is given twice")
        for split in self.splits:
            if split not in store.splits:
                has = ", ".join(store.splits)
                raise IgclError(f"{store.path}: has no split {split!r} for the protocol {self.name}, only {has}")
        self.refuse_unknown_labels(store)
        if taken := [label for label in self.labels_of(store) if label in RESERVED]:
            raise IgclError(f"{store.path}: label {taken[0]!r} is called as a mean over labels is; rename it")

    def refuse_unknown_labels(self, store: Store) -> None:
        """Raise `IgclError` for a label that the store lacks."""
        store.refuse_unknown_labels(self.labels_of(store))

    def labels_of(self, store: Store) -> list[str]:
        """Return the labels to evaluate in a store."""
        return [label for label in store.labels if label != NOT_EVALUATED] if self.labels is None else self.labels

    def parts(self, contestant: Contestant) -> list[Part]:
        """Return the parts to measure for a contestant."""
        return [{}]

    @abstractmethod
    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return a part of what a contestant gives, in a form that `report` reads."""

    @abstractmethod
    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return records and a table as text; `measured` has the parts of each contestant below one another.

        Differences are those of `compared`.
        """

    def examples(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> list[Examples]:
        """Return a few pictures for the page, from what is measured; no model runs."""
        return []

    def below(self) -> str:
        """Return a text that is printed below the table, "" for none."""
        return ""

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options that a part of a contestant depends on."""
        return {name: value for name, value in asdict(self).items() if name not in self.statistics} | dict(part)


@dataclass(frozen=True)
class ScoringProtocol(Protocol):
    """Base class of protocols that score labels, with AUROC and what follows from thresholds on validation rows.

    Args:
        audit_by: columns by whose values results are shown apart (default: those of sex, age and view that differ).
    """

    audit_by: list[str] | None = None

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` as other protocols do, and for columns that make no groups."""
        super().check(store, contestants)
        check_groups(f"protocol {self.name}: audit_by", store, self.splits, self.audit_by)

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options that a part depends on, and that validation rows are scored, too."""
        own = super().settings(contestant, part) | {"chosen_on": VALID}
        del own["audit_by"]
        return own

    def scored_splits(self, store: Store) -> list[str]:
        """Return the splits whose rows are scored: those that are evaluated, and validation rows to choose on."""
        return list(dict.fromkeys([*self.splits, *(split for split in store.splits if split == VALID)]))

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return AUROCs, statistics of answers and probabilities, accuracy and F1 of a set of classes, and groups."""
        return score_report(self, measured, store)


def check_score(protocol: str, score: str | None, contestants: Sequence[Contestant]) -> None:
    """Raise `IgclError` for a score that there is not, or that a contestant does not have."""
    if score is None:
        return
    check_choice(f"protocol {protocol}: score", score, SCORES)
    for contestant in contestants:
        if score not in contestant.scores:
            raise IgclError(f"protocol {protocol}: {contestant.title} has no score {score!r}: it has no local branch")


def file_name(protocol: str, part: Part) -> str:
    """Return the name of the file of a part, such as "linear-0.01.parquet"."""
    return "-".join([protocol, *(f"{value:g}" for value in part.values())]) + ".parquet"


def methods_of(contestants: Iterable[Contestant]) -> list[str]:
    """Return the names of contestants, each once."""
    return list(dict.fromkeys(each.method for each in contestants))


def seeds_of(contestants: Iterable[Contestant]) -> dict[str, int]:
    """Return the number of pretrainings by method."""
    return Counter(each.method for each in contestants)


def compared(contestants: Iterable[Contestant]) -> list[tuple[str, str]]:
    """Return pairs of names (method, other): each with those that it is compared with, or the first with it."""
    methods = {each.method: each.versus for each in contestants}
    first = next(iter(methods), "")
    pairs = []
    for method, versus in methods.items():
        if versus is not None:
            pairs += [(method, other) for other in versus if other in methods and other != method]
        elif method != first:
            pairs.append((first, method))
    return pairs


def score_report(
    protocol: ScoringProtocol, measured: Mapping[Contestant, pd.DataFrame], store: Store
) -> tuple[list[Record], str]:
    """Return the AUROCs of predictions, statistics of answers and probabilities, and tables.

    Of a store of classes, such as a 5x200 set, accuracy and F1 are added.

    Classes are judged where every one of them is among the labels that are evaluated. Of many methods only the AUROCs
    and classes are told.
    """
    scored = pd.concat(measured.values(), ignore_index=True)
    predictions = scored[scored["split"].isin(protocol.splits)]
    about: dict[str, Any] = {"protocol": protocol.name, "store": store.path.name}
    versus = compared(measured)
    records = summarise(predictions, versus=versus, **about)
    many, seeds = are_many(records), seeds_of(measured)
    texts = [
        format_compared(records, seeds, split=split) if many else format_table(records, split=split)
        for split in protocol.splits
    ]
    several = [split for split in protocol.splits if not store.classes(split)]  # classes are answers of another kind
    decisions = summarise_decisions(scored, several, versus=versus, **about) if several else []
    records += decisions
    texts += [format_decisions(decisions, split) for split in several if not many]
    for split in protocol.splits:
        classes = store.classes(split)
        if classes and set(classes.values()) <= set(protocol.labels_of(store)):
            judged = predictions[predictions["split"] == split]
            try:
                found = summarise_classes(judged, classes, versus=versus, **about)
            except IgclError as error:  # such as a draw without a positive row of one class
                texts.append(f"no accuracy: {error}")
                continue
            records += found
            texts.append(format_classes(found, split))
    groups = group_table(store, protocol.splits, protocol.audit_by)
    models = scored[~scored["method"].isin(FLOORS)]
    by_group = summarise_groups(models, groups, protocol.splits, several, **about)
    texts += [REST] if many else [format_groups(by_group, split) for split in protocol.splits]
    return records + by_group, "\n\n".join(filter(None, texts))
