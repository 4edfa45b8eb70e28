"""Phrasing held back from the report parser: what a parser or a model meets when reports are written otherwise.

Readers of chest radiographs understand these sentences and their graphs are exact, but each of them holds one of
`HELD_BACK_WORDS`. The lexicon holds none of these but `LEARNT_WORDS`: a word that is wanted there is named here.
"""

from __future__ import annotations

from dataclasses import replace

from igcl_lightning.phantom.phrasebook import Phrases
from igcl_lightning.phantom.templates import FRAMES, KNOWN, STATEMENTS

HELD_BACK_WORDS: tuple[str, ...] = (
    "arguably",
    "breathing",
    "broadening",
    "cerclage",
    "cleared",
    "coin",
    "conceivable",
    "conceivably",
    "constant",
    "devoid",
    "discounted",
    "filling",
    "flooding",
    "fresh",
    "gas",
    "globular",
    "growth",
    "hepatization",
    "hydrostatic",
    "hypoaeration",
    "identical",
    "implies",
    "imply",
    "lacks",
    "liquid",
    "lump",
    "meniscus",
    "nasoenteric",
    "nothing",
    "nowhere",
    "oversized",
    "permcath",
    "plethora",
    "presumptive",
    "pristine",
    "progressed",
    "pulse",
    "receded",
    "signifies",
    "signify",
    "thoracostomy",
    "underexpansion",
    "vanished",
    "waned",
)
"""Words of this file that the standard phrasing does not use, some the names of observations, some cues."""

LEARNT_WORDS: frozenset[str] = frozenset(
    [
        "breathing",
        "cerclage",
        "cleared",
        "devoid",
        "gas",
        "globular",
        "hypoaeration",
        "growth",
        "identical",
        "implies",
        "imply",
        "lacks",
        "nasoenteric",
        "nothing",
        "nowhere",
        "permcath",
        "presumptive",
        "progressed",
        "pulse",
        "thoracostomy",
    ]
)
"""Those that the lexicon holds by now, since radiologists use them: part of what is held back can be read."""

NOUNS: dict[str, Phrases] = {
    "Atelectasis/one": (
        "[{mild}:*>hypoaeration] [{side}:A>basilar] [basilar:A] [hypoaeration:*@basilar]",
        "[hypoaeration:*@base] of the [{side}:A>base] [lung:A>base] [base:A]",
        "[{mild}:*>underexpansion] [underexpansion:*@lobe] of the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
    ),
    "Atelectasis/both": (
        "[{mild}:*>hypoaeration] [bibasilar:A] [hypoaeration:*@bibasilar]",
        "[{mild}:*>underexpansion] [underexpansion:*@bases] of the [lung:A>bases] [bases:A]",
    ),
    "Cardiomegaly": (
        "[{mild}:*>broadening] [broadening:*@heart] of the [heart:A]",
        "[{mild}:*>broadening] [broadening:*@silhouette] of the [cardiac:A>silhouette] [silhouette:A]",
    ),
    "Consolidation": (
        "[{patchy}:*>filling] [airspace:A] [filling:*@airspace@{at}] in the {place}",
        "[{patchy}:*>filling] [alveolar:A] [filling:*@alveolar@{at}] in the {place}",
        "[{patchy}:*>hepatization] [hepatization:*@{at}] of the {place}",
    ),
    "Edema": (
        "[{mild}:*>flooding] [alveolar:A] [flooding:*@alveolar]",
        "[{mild}:*>plethora] [pulmonary:A>vascular] [vascular:A] [plethora:*@vascular]",
        "[{mild}:*>edema] [hydrostatic:*>edema] [edema:*]",
    ),
    "Lung Lesion/nodule": (
        "a [{tiny}:*>lesion] [coin:*>lesion] [lesion:*@{at}] in the {place}",
        "a {place} [coin:*>lesion] [lesion:*@{at}]",
        "a [{tiny}:*>lump] [lump:*@{at}] in the {place}",
    ),
    "Lung Lesion/mass": (
        "a [{tiny}:*>growth] [growth:*@{at}] in the {place}",
        "a [{tiny}:*>growth] {place} [growth:*@{at}]",
    ),
    "Pleural Effusion/one": (
        "a [{small}:*>meniscus] [meniscus:*@base] at the [{side}:A>base] [lung:A>base] [base:A]",
        "a [{small}:*>liquid] amount of [{side}:A>pleural] [pleural:A] [liquid:*@pleural]",
        "a [{small}:*>liquid] amount of [liquid:*@space] in the [{side}:A>space] [pleural:A>space] [space:A]",
    ),
    "Pleural Effusion/both": (
        "a [{small}:*>liquid] amount of [bilateral:A>pleural] [pleural:A] [liquid:*@pleural]",
        "a [{small}:*>liquid] amount of [liquid:*@spaces] in [both:A>spaces] [pleural:A>spaces] [spaces:A]",
    ),
    "Pneumothorax": (
        "a [{small}:*>gas] amount of [{side}:A>pleural] [pleural:A] [gas:*@pleural]",
        "a [{small}:*>gas] amount of [gas:*@space] in the [{side}:A>space] [pleural:A>space] [space:A]",
    ),
}

CONCLUSIONS: dict[str, Phrases] = {
    name: tuple(statement for statement in statements if "{suggest" in statement)
    for name, statements in STATEMENTS.items()
}
"""The standard conclusions: here the verb is held back."""

HELD_BACK = replace(
    KNOWN,
    nouns=NOUNS,
    statements={
        **CONCLUSIONS,
        "Cardiomegaly": (
            "the [heart:A] is {hedge}[{mildly}:*>oversized] [oversized:*@heart] .",
            "the [cardiac:A>silhouette] [silhouette:A] is {hedge}[globular:*@silhouette] .",
        ),
    },
    frames={
        "definite": FRAMES["definite"],
        "probable": (
            "there {is} {a}{maybe}{core} .",
            "there {is} arguably {a}{core} .",
            "{maybe}{core} .",
        ),
        "possible": (
            "there {is} {a}{maybe}{core} .",
            "there {is} conceivably {a}{core} .",
            "{a}{core} cannot be discounted .",
        ),
    },
    changes={
        "new": (
            "there {is} {a}{maybe}[fresh:*>{head}] {core} .",
            "{a}{maybe}[fresh:*>{head}] {core} {is} seen .",
        ),
        "unchanged": (
            "{a}{maybe}{core} {is} [constant:*>{head}] .",
            "{a}{maybe}{core} {is} [identical:*>{head}] to the prior study .",
        ),
        "increased": ("{a}{maybe}{core} {has} [progressed:*>{head}] .",),
        "decreased": (
            "{a}{maybe}{core} {has} [receded:*>{head}] .",
            "{a}{maybe}{core} {has} [waned:*>{head}] since the prior study .",
        ),
        "resolved": (
            "the {core} {has} cleared .",
            "the {core} {has} vanished .",
        ),
    },
    maybe={
        "definite": ("",),
        "probable": ("presumptive ",),
        "possible": ("conceivable ",),
    },
    hedge={
        "definite": ("",),
        "probable": ("arguably ",),
        "possible": ("conceivably ",),
    },
    suggests={
        "definite": ("signifies", "implies"),
        "probable": ("likely signifies", "probably implies"),
        "possible": ("may signify", "could imply"),
    },
    suggest={
        "definite": ("signify", "imply"),
        "probable": ("likely signify", "probably imply"),
        "possible": ("may signify", "could imply"),
    },
    denials=(
        "there is nothing to suggest {denied} .",
        "the study is devoid of {denied} .",
        "the study lacks {denied} .",
    ),
    denials_of_one=("{denied} is nowhere seen .",),
    devices={
        "endotracheal tube": ("a [breathing tube:+@carina] ends above the [carina:A] .",),
        "nasogastric tube": ("a [nasoenteric tube:+@stomach] terminates in the [stomach:A] .",),
        "central venous catheter/side": (
            "a [{side}:A] [permcath:+@{side}@cava] terminates in the [superior vena cava:A] .",
        ),
        "central venous catheter": ("a [permcath:+@cava] terminates in the [superior vena cava:A] .",),
        "pacemaker/side": ("a [{side}:A>wall] [chest:A>wall] [wall:A] [pulse generator:+@wall] is in place .",),
        "pacemaker": ("a [pulse generator:+] is in place .",),
        "sternotomy wires": ("[cerclage wires:+] are noted .",),
        "chest tube/side": ("a [{side}:A] [thoracostomy tube:+@{side}] is in place .",),
        "chest tube": ("a [thoracostomy tube:+] is in place .",),
    },
    clear_lungs=(
        "the [lungs:A] are [pristine:+@lungs] .",
        "the [lungs:A] are devoid of [focal:->consolidation] [consolidation:-@lungs] .",
    ),
    normal_heart=(
        "the [heart:A] is not [oversized:-@heart] .",
        "the [cardiac:A>silhouette] [silhouette:A] is not [globular:-@silhouette] .",
    ),
    normal_impressions=(
        "the study is devoid of [acute:->process] [cardiopulmonary:A] [process:-@cardiopulmonary] .",
        "there is nothing to suggest [acute:->disease] [cardiopulmonary:A] [disease:-@cardiopulmonary] .",
    ),
    normal_chests=("a [pristine:+@chest] [chest:A] radiograph .",),
)
"""The held-back phrasing."""
