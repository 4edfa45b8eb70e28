"""Help of fit, validate, test and predict, from the source of their classes: at once, and ours before Lightning's."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from igcl_lightning.cli.option_source import Argument, arguments, class_names
from igcl_lightning.errors import UsageError, suggestion
from igcl_lightning.training.options import shipped_configs

HELP = ("-h", "--help")
WHOLE = "--help-all"
USUAL = {"model": "IGCL", "data": "PairedDataModule"}
"""Classes whose options are shown if the command names none."""

TO_BUILD_ON = ("ContrastiveModule", "MatchingModule", "StoreDataModule")
"""Classes for subclasses, not for configs."""

USUAL_OF_RESULTS = {"model": "LinearProbe", "data": "LabeledDataModule"}
"""The same for test and predict, whose options are those of heads."""

EXAMPLES = {
    "fit": "igcl fit --config pretrain/igcl.yaml --data.store stores/mine",
    "validate": "igcl validate --config probe/linear.yaml --data.store STORE --ckpt_path latest",
    "test": "igcl test --config probe/linear.yaml --data.store STORE --ckpt_path latest",
    "predict": "igcl predict --config probe/linear.yaml --ckpt_path latest --data.store NEW",
}
COMMON = {
    "data": (
        "store",
        "predict_splits",
        "batch_size",
        "num_workers",
        "views",
        "augment",
        "labels",
        "masks",
        "fraction",
        "shots",
        "draws",
    ),
    "model": (
        *("checkpoint", "features", "image.backbone", "image.size", "image.weights", "graph.layers", "graph.channels"),
        *(
            "tune",
            "frozen",
            "decoder.kind",
            "text.model",
            "matching.weight",
            "loss.kind",
            "loss.targets",
            "loss.temperature",
            "optim.learning_rate",
        ),
    ),
}
"""Options that are set most; those that the class lacks are left out."""

GENERAL = {
    "--ckpt_path": ("none", "checkpoint to go on from, or to use: a path, or latest"),
    "--seed_everything": ("42", "seed of weights, order and augmentation"),
    "--import": ("none", "your own Python module, before its classes are named"),
}
TRAINER = {
    "max_epochs": ("1000", "epochs to train"),
    "accelerator": ("auto", "cpu, gpu or mps"),
    "devices": ("auto", "number of GPUs, or of processes on a CPU"),
    "strategy": ("auto", "how several devices work together, such as ddp"),
    "precision": ("32-true", "bf16-mixed and 16-mixed are faster on a GPU"),
    "accumulate_grad_batches": ("1", "batches per optimiser step"),
    "gradient_clip_val": ("none", "largest norm of the gradient"),
    "limit_train_batches": ("1.0", "batches of an epoch, or a share of them"),
    "fast_dev_run": ("false", "true runs one batch of everything, and writes nothing"),
}
"""Options of Lightning's trainer that are set most: their defaults and what they do."""


def training_help(words: Sequence[str], chosen: Mapping[str, str]) -> str:
    """Return the help that the words of a training command ask for, nothing if they ask for none, or for Lightning's.

    Args:
        words: the command and its options.
        chosen: class of the model and of the data module, by part, where a config or an option names them.

    Raises:
        UsageError: --model.help or --data.help names a class that does not exist.
    """
    for index, word in enumerate(words):
        option, _, value = word.partition("=")
        for part in COMMON:
            if option == f"--{part}.help":
                following = next((each for each in words[index + 1 : index + 2] if not each.startswith("-")), "")
                name = value or following or chosen.get(part, "")
                if name in class_names(part) or not any(each.startswith("--import") for each in words):
                    return _of_class(part, name)
    return _of_command(words[0], chosen) if any(word in HELP for word in words) else ""


def _of_command(command: str, chosen: Mapping[str, str]) -> str:
    lines = [f"usage: igcl {command} --config FILE [--config FILE ...] [--OPTION VALUE ...]", ""]
    lines += ["example:", f"  {EXAMPLES[command]}", "", "configs that come with this program:"]
    for kind in ("pretrain", "probe"):
        names = " ".join(sorted(f"{kind}/{path.name}" for path in (shipped_configs() / kind).glob("*.yaml")))
        lines += textwrap.wrap(names, _width(), initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    lines += ["", "options that are set most, and their defaults where the config has none:"]
    lines += _table(GENERAL)
    for part in COMMON:
        name = chosen.get(part, (USUAL_OF_RESULTS if command in ("test", "predict") else USUAL)[part])
        if name in class_names(part):
            known = {each.name: each for each in arguments(part, name)}
            found = {f"--{part}.{each}": _shown(known[each]) for each in COMMON[part] if each in known}
            lines += [f"{name}:", *_table(found)]
    lines += ["trainer:", *_table({f"--trainer.{name}": each for name, each in TRAINER.items()}), ""]
    return "\n".join(
        [
            *lines,
            f"all options of a model:        igcl {command} --model.help NAME",
            *_listed(_public("model")),
            f"all options of a data module:  igcl {command} --data.help NAME",
            *_listed(_public("data")),
            f"all options of everything:     igcl {command} {WHOLE}",
            f"the whole configuration:       igcl {command} --config FILE --print_config",
            "",
        ]
    )


def _listed(names: Sequence[str]) -> list[str]:
    return textwrap.wrap(", ".join(names), _width(), initial_indent="  ", subsequent_indent="  ")


def _of_class(part: str, name: str) -> str:
    """Return all options of a class with what they do."""
    known = _public(part)
    if name not in class_names(part):
        raise UsageError(f"--{part}.help: name one of {', '.join(known)}{suggestion(name, known)}")
    lines = [f"{name}: all options of --{part}", ""]
    for each in arguments(part, name):
        default, _ = _shown(each)
        lines += [f"  --{part}.{each.name}  ({default})"]
        lines += textwrap.wrap(each.about, _width(), initial_indent="      ", subsequent_indent="      ")
    return "\n".join([*lines, ""])


def _public(part: str) -> list[str]:
    """Return the classes that configs name."""
    return [name for name in class_names(part) if name not in TO_BUILD_ON]


def _shown(argument: Argument) -> tuple[str, str]:
    """Return default and description of an argument, as on the command line."""
    value = {"": "required", "None": "none", "True": "true", "False": "false"}.get(argument.default, argument.default)
    return value.strip("'"), argument.about


def _table(options: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Yield a line or two for each option: its name, its default, and the beginning of what it does."""
    names = max(map(len, options))
    values = max(len(default) for default, _ in options.values())
    for name, (default, about) in options.items():
        first = f"  {name:{names}}  {default:{values}}  "
        yield from textwrap.wrap(
            about.partition(";")[0].rstrip("."),
            width=max(_width(), len(first) + 24),
            initial_indent=first,
            subsequent_indent=" " * len(first),
            max_lines=2,
            placeholder=" ...",
        )


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns
