"""Marks of lists, boxes, fields and answers in the text of a report."""

from __future__ import annotations

import re

from igcl_lightning.graphs.answers import ANSWERS
from igcl_lightning.graphs.numbering import AFTER_NUMBER

BULLETS = (
    "\u2022\u2023\u25aa\u25ab\u25cf\u25cb\u25e6\u2219\u2043\u25ba\u25b6\u27a2\uf0b7\u25a0\u25a1\u2460-\u2473\u00bb"
)
BOX = r"\[[ xXvV*+_-]?\]|\([ xX+_-]\)|[\u2610\u2611\u2612\u2713\u2714\u2717\u2718]"
MARK = re.compile(
    rf"\s*(?:(?P<item>[-*\u2013\u2014+~#>]+(?=\s|[A-Za-z?])|/(?=[A-Za-z])|[_.,:;]+(?=[A-Z])|[{BULLETS}\u00b7]+"
    rf"|[(\[{{<#]{{0,2}}\d{{1,2}}(?:{AFTER_NUMBER}|:(?=\s)|\s?-(?=\s))|\(?[A-Ha-h]\)|[a-h]\.(?=\s)|[IVX]{{1,4}}[.)](?=\s))"
    rf"\s*)(?={BOX}|\S)"
)
"""The mark of an item at the start of a line."""

FIELD = re.compile(r"\s*[A-Za-z][\w/&,()-]*(?: [\w/&,()-]+){0,4}\s?(?::(?!\d)|=|\?(?=\s*(?:[Yy]es|[Nn]o)\b))")
BOXED = re.compile(rf"\s*(?:{BOX})")
ITEM = re.compile(rf"{MARK.pattern}|{BOXED.pattern}")
ANSWER = "|".join(sorted(map(re.escape, ANSWERS), key=len, reverse=True))
_SEEN = "seen|identified|noted|present|visible|evident|detected|visualized|demonstrated"
ANSWERED = re.compile(rf"\s*(?:(?:{ANSWER})(?:\s(?:{_SEEN}))?|not (?:{_SEEN}))\s*(?:[.,;()|/]|$)", re.IGNORECASE)
NAME = r"(?!no\b|not\b|without\b)[A-Za-z][\w/()-]*(?: [\w/()-]+){0,4}"
NAMED = re.compile(NAME, re.IGNORECASE)
