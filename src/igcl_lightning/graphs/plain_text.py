"""Report as stored by a hospital -> plain text: no HTML tags or entities, no emphasis, no escaped line breaks."""

from __future__ import annotations

import html
import re

_BLOCKS = (
    "blockquote|body|br|caption|dd|div|dl|dt|h[1-6]|head|hr|html|li|ol|p|pre|section|table|tbody|thead|title|tr|ul"
)
_INLINE = "a|b|big|center|em|font|i|img|mark|meta|small|span|strong|sub|sup|td|th|u"
_CELLS = re.compile(r"</t[dh]\s*>\s*<t[dh](?:\s[^<>]*)?>", re.IGNORECASE)
_TAG = re.compile(rf"<!--|-->|<![^<>]*>|</?(?:({_BLOCKS})|{_INLINE})(?:[\s/][^<>]*)?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8}\d?);")
_ESCAPED_BREAK = re.compile(r"\\\.br\\|\\X0[AD]\\|(?:\\r)?\\n|\\r(?![a-z])|\\t(?=[A-Z\s]|$)")
_EMPHASIS = re.compile(r"(?<![\w*\[])(\*{1,3}|__?)(?=[A-Za-z])([^*_\n]{1,80})(?<=[\w.:?)])\1(?![\w*])")
_NOT_A_MARK = "".join(
    f"(?<!{end})" for end in ("nterval", "ime", "he", "his", "hat", "ame", "hort", "rief", "ong", "year", "month")
)
"""Ends of words before "period" where it is a time: "the interval period"."""

_DICTATED = re.compile(rf"(?<=[a-z)]){_NOT_A_MARK} (?:(comma)(?= [a-z])|(?:period|full stop)(?=\s+[A-Z]|\s*$|\s*\n))")
"""Punctuation that a speech recogniser wrote as words."""

_ALL_DICTATED = re.compile(
    rf"(?<=[a-z)]){_NOT_A_MARK} (?:(comma)\b|(?:period|full stop)(?! of\b)\b(?: (new (?:line|paragraph))\b)?)",
    re.IGNORECASE,
)
"""The same where small letters follow, in a text that ends in one."""

_ENDS_DICTATED = re.compile(r" (?:period|full stop)\s*$", re.IGNORECASE)

_INVISIBLE = {ord(character): None for character in "\u00ad\u200b\u200c\u200d\u2060\ufeff"} | {0xA0: " "}


def plain_text(text: str) -> str:
    r"""Return a report without tags, entities, marks of emphasis, escaped line breaks and invisible characters.

    A block of HTML is a paragraph, and neighbouring cells of a table are a field ("Effusion: none"). Other text,
    line breaks included, stays as it is.

    Example:
        >>> plain_text("<p>No effusion &amp; no edema.</p>").strip()
        'No effusion & no edema.'
    """
    if not text.isascii():
        text = text.translate(_INVISIBLE)
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text).translate(_INVISIBLE)
    if "<" in text:
        text = _without_tags(text)
    if "*" in text or "_" in text:
        text = _EMPHASIS.sub(r"\2", text)
    if " period" in text or " comma " in text or " full stop" in text:
        text = _punctuated(text)
    return _ESCAPED_BREAK.sub("\n", text) if "\\" in text else text


def _punctuated(text: str) -> str:
    """Return a text with the signs that were dictated as words."""
    if _ENDS_DICTATED.search(text):
        text = _ALL_DICTATED.sub(lambda word: "," if word[1] else ".\n" if word[2] else ".", text)
    return _DICTATED.sub(lambda word: "," if word[1] else ".", text)


def _without_tags(text: str) -> str:
    """Return text without tags; where tags make the lines, line breaks are blanks as in a browser."""
    blocks = any(tag[1] and tag[1].lower() != "pre" for tag in _TAG.finditer(text))
    text = _CELLS.sub(": ", text)
    if blocks:
        text = text.replace("\n", " ")
    return _TAG.sub(lambda tag: "" if not tag[1] else "\n" if tag[1].lower() == "br" else "\n\n", text)
