"""Language of a report, by its function words: the parser reads English."""

from __future__ import annotations

import re

from igcl_lightning.graphs.lexicon import alternatives

_WORD = re.compile(r"[^\W\d_]+(?:[-/][^\W\d_]+)*")

_PLAIN = "".join(" " if chr(code) in ".,:;()/" else chr(code).lower() for code in range(128))
"""Small letters for the characters of ASCII, and blanks for marks, by their codes."""

_ENGLISH = alternatives(
    "the|are|and|with|there|not|without|at|were|has|have|been|this|that|for|from|seen|but|which|than|clear|within|limits"
    "|left|right|lung|lungs|heart|chest|size|upper|lower|small|large|mild|moderate|unchanged|enlarged|evidence|acute"
    "|bones|rib|ribs|lobe|opacity|opacities|effusion|effusions|findings|views"
)
"""Words of English reports that are not words of reports in the other languages."""

_ELSEWHERE = alternatives(
    # German
    "kein|keine|keinen|keiner|nicht|der|das|dem|den|des|und|mit|ohne|ist|sind|zum|zur|beidseits|links|rechts|herz|lunge"
    "|lungen|nachweis|erguss|pleuraerguss|unauffaellig|regelrecht|stauung|beurteilung|befund|eine|einen|rundherd|bei|auf"
    "|auch|sich|wird|nach|vergroessert|herzschatten|infiltrat|pneumonie|\u00f6dem|h\u00e4matothorax|keinerlei|zeichen|deutlicher"
    # French
    "|pas|les|du|une|sans|avec|est|sont|aux|droit|droite|gauche|poumon|poumons|coeur|epanchement|dans|sur|ni|foyer"
    "|cardiaque|normale|pulmonaire|pulmonaires|pleurale|examen|volumineux|aucun|aucune|cardiom\u00e9galie|\u00e9panchement|\u0153d\u00e8me|opacit\u00e9|opacit\u00e9s"
    # Spanish
    "|sin|los|las|una|con|el|derrame|neumotorax|silueta|pulmones|izquierdo|izquierda|derecho|derecha|observa|observan"
    "|corazon|es|por|radiografia|hallazgos|aumento|pulmonar|cardiaca|infiltrados|muestra|hay|la|ambos|campos|cardiomegalia|neumonia|neumon\u00eda|n\u00f3dulo|normales"
    # Portuguese
    "|sem|nao|dos|uma|com|pneumotorax|pulmao|pulmoes|coracao|esquerdo|esquerda|direito|direita|sinais|aumentada|ou"
    # Italian
    "|gli|della|dello|dei|delle|nel|nella|senza|di|versamento|pneumotorace|polmone|polmoni|cuore|sinistra|sinistro"
    "|destra|destro|pleurico|sono|ombra|alla|segni|nei|entrambi|nodulo|sede|polmonare|cardiaco|aumentato"
    # Dutch
    "|geen|het|een|van|zonder|niet|longen|hart|zijn|bij|aan|voor|pleuravocht|wel|normaal|vergroot|beeld|longvelden"
    # Scandinavian languages
    "|ingen|inga|inte|ikke|och|uten|utan|uden|hjerte|lungor|lunger|venstre|til|det|som|mot"
    # Polish, Czech, Turkish
    "|nie|bez|oraz|serce|prawej|lewej|zmian|odmy|jest|plic|srdce|cech|sylwetka|yok|ve|bir|kalp|izlenmedi|normaldir|olarak"
)
"""Function words and words of reports in other languages that are not words of English reports."""


def is_suspect(text: str) -> bool:
    """Return whether a text has letters or words of another language, without which it is English."""
    return not text.isascii() or not _ELSEWHERE.isdisjoint(text.translate(_PLAIN).split())


def is_english(text: str) -> bool:
    """Return whether a report is English, or says too little to tell.

    It is not if most of its letters belong to another script, or if words of other European languages outnumber those
    of English. Words that languages share, such as names of diseases, do not count.
    """
    if not is_suspect(text):
        return True
    if not text.isascii():
        letters = [letter for letter in text.lower() if letter.isalpha()]
        if 2 * sum(letter > "\u024f" for letter in letters) > len(letters):
            return False
    foreign = english = 0
    for word in _WORD.findall(text):
        accented = word[0].islower() and not word.isascii()  # capitalised ones may be names
        abbreviated = len(word) < 3 and word.isupper()  # "LA enlargement"
        foreign += accented or (word.lower() in _ELSEWHERE and not abbreviated)
        english += word.lower() in _ENGLISH
    return foreign <= english
