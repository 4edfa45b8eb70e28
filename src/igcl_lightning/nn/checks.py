"""Checks of options that name one of several kinds, or a number with a bound; errors are one line."""

from __future__ import annotations

import math
from collections.abc import Iterable

from igcl_lightning.errors import IgclError, suggestion


def check_choice(option: str, value: str, known: Iterable[str]) -> None:
    """Raise `IgclError` unless the value of an option, such as "model.matching.form", is one of `known`."""
    names = tuple(known)
    if value not in names:
        raise IgclError(f"{option} {value!r} is not one of {', '.join(names)}{suggestion(value, names)}")


def check_at_least(option: str, value: float, bound: int) -> None:
    """Raise `IgclError` if the value of an option is below `bound`."""
    if not value >= bound:
        raise IgclError(f"{option} is {value}, not at least {bound}")


def check_positive(option: str, value: float) -> None:
    """Raise `IgclError` unless the value of an option is above 0 and finite."""
    if not 0 < value < math.inf:
        raise IgclError(f"{option} is {value}, {'not finite' if value > 0 else 'not above 0'}")
