"""Options of models, data modules and the trainer, read from their source, since importing them takes seconds."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = "igcl_lightning"
CLASSES = {"model": f"{PACKAGE}.modules", "data": f"{PACKAGE}.data.modules"}
"""Modules with the classes that the options --model and --data may name without their module."""

TRAINER = ("lightning.pytorch.trainer.trainer", "Trainer")


class Argument(NamedTuple):
    """An argument of a constructor.

    Attributes:
        name: as on the command line: "name" or "group.field".
        default: source of its default, empty if it is required.
        about: what its docstring says, in one line, empty if nothing.
    """

    name: str
    default: str
    about: str


def class_names(part: str) -> list[str]:
    """Return the public classes that --model or --data may name, in the order of their module."""
    module = CLASSES[part]
    names = [name for name, node in _names(module).items() if isinstance(node, ast.ClassDef | ast.ImportFrom)]
    return [name for name in names if not name.startswith("_") and _is_part(part, module, name)]


@cache
def arguments(part: str, name: str) -> tuple[Argument, ...]:
    """Return the arguments of a class that --model or --data may name, or of the trainer, groups by their fields.

    Raises:
        LookupError: there is no such class among `class_names`.
    """
    module, cls = TRAINER if part == "trainer" else (CLASSES[part], name)
    if part != "trainer" and name not in class_names(part):
        raise LookupError(name)
    return tuple(_arguments(*_found(module, cls)))


def _is_part(part: str, module: str, name: str) -> bool:
    """Return whether a class of this package descends from the base of models or data modules."""
    base = {"model": "BaseModule", "data": "LightningDataModule"}[part]
    while found := _find(module, name):
        module, node = found
        if not isinstance(node, ast.ClassDef) or not node.bases:
            return False
        name = _last(node.bases[0])
        if name == base:
            return True
    return False


class _Parameter(NamedTuple):
    """A parameter as written: the module that its annotation and default refer to, and both."""

    module: str
    name: str
    hint: ast.expr | None
    default: ast.expr | None
    about: str


def _arguments(module: str, cls: ast.ClassDef) -> Iterator[Argument]:
    for where, name, hint, default, about in _parameters(module, cls):
        kinds = [_find(where, each.id) for each in ast.walk(hint) if isinstance(each, ast.Name)] if hint else []
        groups = [(home, kind) for home, kind in filter(None, kinds) if isinstance(kind, ast.ClassDef)]
        groups = [(home, kind) for home, kind in groups if _is_dataclass(kind)]
        for home, kind in groups:
            fields = [*_arguments(home, kind)]
            given = _given(default, [each.name for each in fields])
            for field in fields:
                text = _text(where, given[field.name]) if field.name in given else field.default
                yield Argument(f"{name}.{field.name}", text, field.about)
        if not groups:
            yield Argument(name, _text(where, default), about)


def _given(default: ast.expr | None, names: list[str]) -> dict[str, ast.expr]:
    """Return what a default such as ContrastiveOptions(0.1, bias=-3) says, by field."""
    if not isinstance(default, ast.Call):
        return {}
    by_name = {word.arg: word.value for word in default.keywords if word.arg}
    return {**dict(zip(names, default.args, strict=False)), **by_name}


def _parameters(module: str, cls: ast.ClassDef) -> list[_Parameter]:
    """Return the fields of a dataclass, or the parameters of the constructor, which may be a parent's."""
    about = _about(cls)
    fields: dict[str, _Parameter] = {}
    parents = [found for base in cls.bases if (found := _find(module, _last(base)))]
    for where, parent in parents if _is_dataclass(cls) else parents[:1]:
        fields |= {each.name: each for each in _parameters(where, parent)} if isinstance(parent, ast.ClassDef) else {}
    inits = [node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    own = [*_of_constructor(inits[0])] if inits else []
    if _is_dataclass(cls):
        annotated = [node for node in cls.body if isinstance(node, ast.AnnAssign)]
        own = [(node.target.id, node.annotation, node.value) for node in annotated if isinstance(node.target, ast.Name)]
    inherited = {} if inits else fields
    written = {name: _Parameter(module, name, hint, default, about.get(name, "")) for name, hint, default in own}
    return [*{**inherited, **written}.values()]


def _of_constructor(node: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    positional = node.args.args[1:]  # without self
    missing: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    for argument, default in zip(positional, [*missing, *node.args.defaults], strict=True):
        yield argument.arg, argument.annotation, default
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        yield argument.arg, argument.annotation, default


def _about(cls: ast.ClassDef) -> dict[str, str]:
    """Return the first sentence of each argument of a Google docstring, of the class or its constructor."""
    inits = [node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    documented: list[ast.ClassDef | ast.FunctionDef] = [cls, *inits]
    text = "\n".join(ast.get_docstring(node) or "" for node in documented)
    _, _, below = text.partition("Args:\n")
    block = re.split(r"\n(?=\S)", inspect.cleandoc(below.split("\n\n")[0]))
    pairs = [" ".join(entry.split()).partition(": ") for entry in block if re.match(r"\w+:", entry)]
    return {name: about for name, _, about in pairs}


def _text(module: str, default: ast.expr | None) -> str:
    """Return the source of a default; a constant by its value, a factory by what it makes."""
    if isinstance(default, ast.Name) and isinstance(node := (_find(module, default.id) or (0, None))[1], ast.expr):
        return ast.unparse(node)
    if isinstance(default, ast.Call) and _last(default.func) == "field":
        made = {word.arg: word.value for word in default.keywords}.get("default_factory")
        empty = {"list": "[]", "dict": "{}"}
        return ast.unparse(made.body) if isinstance(made, ast.Lambda) else empty[_last(made)] if made else ""
    return ast.unparse(default) if default is not None else ""


def _is_dataclass(node: ast.AST) -> bool:
    names = [_last(each.func if isinstance(each, ast.Call) else each) for each in getattr(node, "decorator_list", ())]
    return "dataclass" in names


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name, without what is in brackets."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _found(module: str, name: str) -> tuple[str, ast.ClassDef]:
    where, node = _find(module, name) or ("", None)
    if not isinstance(node, ast.ClassDef):
        raise LookupError(f"{module}.{name}")
    return where, node


def _find(module: str, name: str) -> tuple[str, ast.AST] | None:
    """Return what a name in a module is, and the module of this package that defines it; None if it is not found."""
    node = _names(module).get(name)
    if isinstance(node, ast.ImportFrom):
        inside = node.module is not None and node.module.startswith(PACKAGE)
        original = next((each.name for each in node.names if (each.asname or each.name) == name), name)
        return _find(str(node.module), original) if inside else None
    return None if node is None else (module, node)


@cache
def _names(module: str) -> dict[str, ast.AST]:
    """Return classes, imports and constants of a module by name; a constant is its value."""
    names: dict[str, ast.AST] = {}
    for node in ast.parse(_file(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name: node for each in node.names}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node.value
    return names


def _file(module: str) -> Path:
    """Return the file of a module, found without importing its package."""
    package, _, below = module.partition(".")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0], *below.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
