"""Results by groups of patients."""
from __future__ import annotations


BAND = 20
OLDEST_BAND = 80


def age_band(age: float | None) -> str | None:
    """Return the band of 20 years that an age is in, such as "40-59"; the last is "80+"."""
    if age is None or not age >= 0:
        return None
    first = BAND * int(age // BAND)
    return f"{OLDEST_BAND}+" if first >= OLDEST_BAND else f"{first}-{first + BAND - 1}"
