"""Options of the classes that a config may name: which exist, and which classes have them."""

from __future__ import annotations

from collections.abc import Iterator

from igcl_lightning.modules.checkpoint import subclasses
from igcl_lightning.modules.groups import option_names
from igcl_lightning.training.options import Written


def class_options(prefix: str, base: type, written: list[Written]) -> Iterator[str]:
    """Yield "prefix.argument" for the arguments of the subclasses of `base` that the option `prefix` may choose."""
    places = (prefix, f"{prefix}.class_path")
    chosen = [option.value.rpartition(".")[2] for option in written if option.key in places]
    candidates = {base, *subclasses(base)}
    for cls in {cls for cls in candidates if cls.__name__ in chosen[-1:]} or candidates:
        yield from (f"{prefix}.{name}" for name in option_names(cls))


def owners(prefix: str, base: type) -> dict[str, list[str]]:
    """Return the names of this package's subclasses of `base`, in order, by "prefix.argument" that they take."""
    package = __name__.partition(".")[0]
    classes = {cls.__name__: cls for cls in subclasses(base) if cls.__module__.startswith(f"{package}.")}
    having: dict[str, list[str]] = {}
    for name, cls in sorted(classes.items()):
        for option in option_names(cls):
            having.setdefault(f"{prefix}.{option}", []).append(name)
    return having
