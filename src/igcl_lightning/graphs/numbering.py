"""Items that are numbered or lettered within a line: "1) No effusion 2) Heart enlarged"."""

from __future__ import annotations

import re
from collections.abc import Iterator

AFTER_NUMBER = r"(?:-?[.)\]}>\u00b0]++(?!\d)|\s?[-:,;/](?=\s?[A-Z][A-Za-z]))"
"""What ends the number of an item."""

_NUMBERED = re.compile(r"(?<![^\s.,;])\(?(\d{1,2})[.)](?!\d)\s*(?=\S)")
_NEXT_NUMBER = re.compile(rf"(?:(?<![^\s.,;)])|(?<=[a-z]{{3}}))[(\[{{<#]{{0,2}}(\d{{1,2}}){AFTER_NUMBER}\s*(?=\S)")
_NEXT_LETTER = re.compile(r"(?<![^\s.,;])\(?([A-Ha-h])\)\s*(?=\S)")


def item_numbers(text: str, mark: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the numbers or letters of items in a line, which count up ("1) ... 2) ...").

    Args:
        text: the line after its first mark.
        mark: that mark, "" without any.
    """
    first = re.search(r"(\d+)|[a-hA-H](?=\))", mark)
    pattern, following = _NUMBERED, "1"
    if first is not None:
        pattern, following = (_NEXT_NUMBER if first[1] else _NEXT_LETTER), _next(first[0])
    for match in pattern.finditer(text):
        if match[1] == following:
            yield match.span()
            following = _next(following)


def _next(item: str) -> str:
    """Return the number or letter after one."""
    return str(int(item) + 1) if item.isdigit() else chr(ord(item) + 1)
