"""The command `igcl completion`."""

from __future__ import annotations

import argparse
import sys

from igcl_lightning.cli.option_source import arguments, class_names
from igcl_lightning.training.options import shipped_configs

HELP = "print a script that completes commands and options with the Tab key"
EXAMPLE = 'eval "$(igcl completion bash)"'
SHELLS = ("bash", "zsh")
GENERAL = ("ckpt_path", "seed_everything", "import", "model", "data", "model.help", "data.help", "print_config")
EVERYWHERE = ("quiet", "debug")
FOLDERS = ("data.store", "trainer.logger.save_dir")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        'Print a script for a shell. Bash: eval "$(igcl completion bash)" in ~/.bashrc. Zsh: igcl completion zsh > '
        "_igcl in a folder of $fpath."
    )
    parser.add_argument("shell", choices=SHELLS, help="shell of the script")


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    import shtab

    from igcl_lightning.cli import TRAINING_COMMANDS, build_parser

    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name in TRAINING_COMMANDS:
        _add_training_options(commands.choices[name])
    for command in commands.choices.values():
        for name in EVERYWHERE:
            command.add_argument(f"--{name}", action="store_true")
    sys.stdout.write(shtab.complete(parser, options.shell))


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of models, data modules and the trainer, which another parser reads."""
    import shtab

    configs = sorted(path.relative_to(shipped_configs()).as_posix() for path in shipped_configs().rglob("*.yaml"))
    parser.add_argument("--config", choices=configs)
    classes = {part: [arguments(part, name) for name in class_names(part)] for part in ("model", "data")}
    classes["trainer"] = [arguments("trainer", "")]
    options = [f"{part}.{each.name}" for part, found in classes.items() for known in found for each in known]
    for name in dict.fromkeys((*GENERAL, *options)):
        choices = class_names(name.partition(".")[0]) if name.removesuffix(".help") in ("model", "data") else None
        action = parser.add_argument(f"--{name}", choices=choices)
        if name in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab reads it
        elif name in ("ckpt_path", "model.checkpoint"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
