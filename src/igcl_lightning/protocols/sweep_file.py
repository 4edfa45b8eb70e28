"""A sweep of Weights & Biases, read from its YAML for a search on this machine."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.protocols.yaml_file import read_yaml

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ARGS = "${args}"
PROGRAMS = (["igcl"], ["lightning"], ["python", "-m", "igcl_lightning"])
MACROS = {"${env}": [], "${interpreter}": ["python"]}
COUNTERPARTS = "value, values, uniform, int_uniform, q_uniform, log_uniform_values or q_log_uniform_values"
"""What Optuna has counterparts for; it has none for normal, beta, log_uniform, inv_log_uniform and their variants."""


@dataclass(frozen=True)
class Metric:
    """What a sweep optimises.

    Args:
        name: name of a metric that every trial logs; its last value counts.
        goal: "minimize" or "maximize".
    """

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"


@dataclass(frozen=True)
class EarlyTerminate:
    """Hyperband of W&B: a trial ends at a bracket if it is not among the best 1 / eta of those that reached it.

    Args:
        type: "hyperband".
        min_iter: number of logged values at the first bracket; the next are eta, eta^2, ... times as long.
        max_iter: number of logged values of a whole trial, instead: the first bracket is max_iter / eta^s.
        s: number of brackets before max_iter.
        eta: factor between brackets.
    """

    type: Literal["hyperband"]
    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None
    eta: int = 3

    @property
    def first(self) -> int:
        """Number of logged values at the first bracket."""
        return self.min_iter or max(1, (self.max_iter or 1) // self.eta ** (self.s or 1))


@dataclass(frozen=True)
class Sweep:
    """A sweep as W&B defines it.

    Args:
        command: words of a trial's command, `${args}` last.
        parameters: by option of `igcl fit`, its value or values, or a distribution.
        metric: what to optimise.
        method: all combinations, at random, or by the results so far.
        run_cap: number of trials.
        early_terminate: which trials end early.
        program: what `${program}` stands for.
        name, description, entity, project: used by W&B only.
    """

    command: list[Any]
    parameters: Mapping[str, Mapping[str, Any]]
    metric: Metric
    method: Literal["grid", "random", "bayes"]
    run_cap: int | None = None
    early_terminate: EarlyTerminate | None = None
    program: str | None = None
    name: str | None = None
    description: str | None = None
    entity: str | None = None
    project: str | None = None

    @property
    def words(self) -> list[str]:
        """The words of the command, `${args}` last."""
        macros = {**MACROS, "${program}": [self.program or "igcl"]}
        return [str(part) for word in self.command for part in macros.get(word, [word])]

    @property
    def options(self) -> list[str]:
        """Options of `igcl fit` that all trials share."""
        return self.words[len(_program(self.words)) + 1 : -1]

    @property
    def choices(self) -> dict[str, list[Any]]:
        """Values of each parameter that lists them; those that are lists themselves as JSON."""
        listed = {name: _listed(about) for name, about in self.parameters.items()}
        return {name: values for name, values in listed.items() if values is not None}

    @property
    def grid_size(self) -> int:
        """Number of combinations."""
        return math.prod(map(len, self.choices.values()))

    @property
    def grid(self) -> Iterator[dict[str, Any]]:
        """All combinations, in the order of W&B."""
        return (dict(zip(self.choices, point, strict=True)) for point in itertools.product(*self.choices.values()))


def _listed(about: Mapping[str, Any]) -> list[Any] | None:
    values = about.get("values", [about["value"]] if "value" in about else None)
    return values and [json.dumps(value) if isinstance(value, list | dict) else value for value in values]


def read_sweep(name: str) -> Sweep:
    """Read a sweep from a file, or a shipped one such as sweep/pretrain.yaml.

    Raises:
        UsageError: there is no such file, a key is unknown or a value has the wrong type.
        IgclError: it cannot be run on this machine.
    """
    path, sweep = read_yaml(Sweep, name, "sweep")
    for what in _mistakes(sweep):
        raise IgclError(f"{path}: {what}")
    return sweep


def _mistakes(sweep: Sweep) -> Iterator[str]:
    """Yield what is wrong with the values of a sweep; what follows may rest on what comes before."""
    for word in sweep.command:
        if not isinstance(word, str | int | float):
            yield f"command: {as_word(word)} is not a word"
    yield from _mistakes_of_command(sweep.words)
    if sweep.run_cap is not None and sweep.run_cap < 1:
        yield f"run_cap is {sweep.run_cap}, not at least 1"
    if sweep.early_terminate:
        yield from _mistakes_of_ends(sweep.early_terminate)
    if not sweep.parameters:
        yield "parameters is empty"
    for name, about in sweep.parameters.items():
        for what in _mistakes_of_parameter(name, about, sweep.method):
            yield f"parameters.{name}{what}"


def _mistakes_of_ends(early: EarlyTerminate) -> Iterator[str]:
    for key, least in {"min_iter": 1, "max_iter": 1, "s": 1, "eta": 2}.items():
        number = getattr(early, key)
        if number is not None and number < least:
            yield f"early_terminate.{key} is {number}, not at least {least}"
    if early.min_iter is None and None in (early.max_iter, early.s):
        yield "early_terminate needs min_iter, or max_iter and s"


def _mistakes_of_parameter(name: str, about: Mapping[str, Any], method: str) -> Iterator[str]:
    if not isinstance(name, str) or name in ("config", "print_config") or name.rpartition(".")[2] == "help":
        yield " is not an option that trials can vary"
    if "parameters" in about:
        yield f" is nested; write its options as {name}.OPTION"
    if not isinstance(about.get("values", []), list):
        yield f".values is {as_word(about['values'])}, not a list"
    for key, value in about.items():
        if not _is_plain(value):
            yield f".{key}: {value} is not a finite number, a text or a list of them"
    if _listed(about) == []:
        yield ": values is empty"
    if method == "grid":
        yield from _mistakes_of_grid(_listed(about))


def _is_plain(value: Any) -> bool:
    """Return whether JSON has this value: YAML has inf, nan and bytes, too."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _mistakes_of_grid(values: list[Any] | None) -> Iterator[str]:
    if values is None:
        yield ": a grid needs value or values"
    elif twice := [value for index, value in enumerate(values) if value in values[:index]]:
        yield f".values has {as_word(twice[0])} twice"


def _mistakes_of_command(words: list[str]) -> Iterator[str]:
    program = _program(words)
    if not program or words[len(program) : len(program) + 1] != ["fit"]:
        yield f"command is not igcl fit ..., but {' '.join(words[:3]) or 'empty'}"
    if words.count(ARGS) != 1 or words[-1] != ARGS:
        yield f"command: the last word must be {ARGS}, or a --config after it would decide, not the sweep"
    for word in words[:-1]:
        if "${" in word:
            yield f"command: {word} is known to wandb agent only; write it out"


def _program(words: list[str]) -> list[str]:
    """Return the words that start this program, none if the command is of another."""
    return next((program for program in PROGRAMS if words[: len(program)] == program), [])


def search_space(sweep: Sweep) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter, as W&B translates them for Optuna.

    Raises:
        IgclError: Optuna has no counterpart.
    """
    from wandb.sdk.sweeps.scheduler.optuna import sweep_parameter_to_distribution

    space = {}
    for name, about in sweep.parameters.items():
        choices = {"values": sweep.choices[name]} if name in sweep.choices else dict(about)
        try:
            space[name] = sweep_parameter_to_distribution(choices)
        except (ValueError, KeyError, TypeError) as error:
            known = str(about.get("distribution", "")) in COUNTERPARTS
            wanted = one_line(error) if known else f"Optuna needs {COUNTERPARTS}"
            raise IgclError(f"parameters.{name}: {dict(about)} cannot be searched: {wanted}") from error
    return space


def as_word(value: Any) -> str:
    """Return a value as a word of the command line."""
    return value if isinstance(value, str) else json.dumps(value)
