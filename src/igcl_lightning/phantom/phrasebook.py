"""What a phrasebook holds: the ways to say the same thing about findings, as templates of `markup`.

Slots of a noun phrase or statement: {mild} severity, {mildly} the same as an adverb, {small} size, {patchy} texture,
{linear} shape, {tiny} size of a lesion, {side}, {place} a zone of a lung and {at} its head noun, {hedge} an adverb of
doubt, {suggests} and {suggest} how sure a conclusion is. The label `*` is present for a definite finding, uncertain for
a probable or possible one, absent for one that has resolved.

Slots of a frame: {a} the article of a noun phrase, {core} the rest of it, {head} its observation, {is} and {has} verbs
in its number, {maybe} an adjective of doubt.

A noun phrase begins with "a", with "some" where it is plural, or with neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Phrases: TypeAlias = tuple[str, ...]
"""Templates to the same effect: one is drawn."""

SLOTS: dict[str, tuple[Phrases, Phrases, Phrases]] = {
    "mild": (("mild", "minimal", "slight"), ("moderate",), ("severe", "marked")),
    "mildly": (("mildly", "minimally", "slightly"), ("moderately",), ("severely", "markedly")),
    "small": (("small", "minimal", "tiny", "trace"), ("moderate",), ("large",)),
    "patchy": (("subtle", "hazy", "faint"), ("patchy", "focal"), ("dense", "confluent", "extensive")),
    "linear": (("linear", "discoid", "mild", "platelike"), ("moderate", "bandlike"), ("severe", "marked")),
    "tiny": (("small", "tiny", "subtle"), ("rounded", "discrete", "solitary"), ("large", "lobulated", "bulky")),
}
"""Words for mild, moderate and severe."""


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """One way of writing reports.

    Findings are keyed by name; where the wording depends on more, as "Pleural Effusion/one" and "/both" sides,
    "Atelectasis/severe" of one side, and "Lung Lesion/nodule" and "/mass".

    Attributes:
        nouns: noun phrases by finding.
        statements: whole sentences by finding.
        frames: sentences around a noun phrase, by certainty.
        changes: sentences around a noun phrase: "new", "unchanged", "increased", "decreased" or "resolved".
        maybe: adjectives of doubt by certainty, each with a blank after it; likewise `hedge`, its adverbs.
        suggests: verb phrases of a conclusion by certainty, after a singular; `suggest` after a plural.
        denied: what can stand behind a denial, by finding.
        denials: sentences that deny a list {denied}.
        denials_of_one: sentences that deny one thing.
        devices: sentences by kind of device; "/side" where one side of the patient is named.
        clear_lungs: said where no finding touches the lungs.
        normal_heart: said where the heart is not enlarged.
        normal_impressions: impressions without any finding.
        normal_chests: the same where there is no device either.
    """

    nouns: Mapping[str, Phrases]
    statements: Mapping[str, Phrases]
    frames: Mapping[str, Phrases]
    changes: Mapping[str, Phrases]
    maybe: Mapping[str, Phrases]
    hedge: Mapping[str, Phrases]
    suggests: Mapping[str, Phrases]
    suggest: Mapping[str, Phrases]
    denied: Mapping[str, Phrases]
    denials: Phrases
    denials_of_one: Phrases
    devices: Mapping[str, Phrases]
    clear_lungs: Phrases
    normal_heart: Phrases
    normal_impressions: Phrases
    normal_chests: Phrases
