"""What the pages for users say is compared with the code."""

import argparse
import inspect
import re
from pathlib import Path

import pytest
import yaml

from igcl_lightning import callbacks, modules
from igcl_lightning.cli import build_parser
from igcl_lightning.data import modules as data_modules
from igcl_lightning.training.options import shipped_configs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "notebooks").glob("*.ipynb"))
GUIDES = [
    ROOT / "README.md",
    ROOT / "docs" / "configuration.md",
    ROOT / "docs" / "new_modality.md",
    ROOT / "docs" / "data.md",
]
CONFIGURATION = ROOT / "docs" / "configuration.md"
CONFIGS = {path.relative_to(shipped_configs()).as_posix() for path in shipped_configs().rglob("*.yaml")}
DATA = (data_modules.PairedDataModule, data_modules.LabeledDataModule)
CLASSES = {name: getattr(room, name) for room in (modules, callbacks) for name in room.__all__}
CLASSES |= {datamodule.__name__: datamodule for datamodule in DATA}
WRITTEN_BY_CHECKPOINTS = {"encoder", "label_names", "num_heads", "in_channels", "origin", "text_config"}
TRAINING_OPTIONS = {"--config", "--debug", "--ckpt_path", "--print_config", "--import"}


def arguments(cls):
    return {name: argument.default for name, argument in inspect.signature(cls).parameters.items()}


def options_of(parser):
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from options_of(command)


def documented(text):
    """Yield the class names, argument and default of each row of the tables that stand under a class's heading."""
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        for argument, default in re.findall(r"^\| `(\w+)` \| (.*?) \|", body, re.MULTILINE):
            yield re.findall(r"`(\w+)`", heading), argument, default


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)(.+?)\)", text):
        path, _, place = target.partition("#")
        other = page.parent / path if path else page
        assert other.exists(), target
        if place:
            assert place in {anchor(heading) for heading in re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)}


def test_configs_that_are_named_exist():
    for page in GUIDES:
        named = set(re.findall(r"\b((?:pretrain|probe|callbacks|logger|data)/\w+\.yaml)", page.read_text()))
        assert named <= CONFIGS, page


def test_every_shipped_config_is_explained():
    text = CONFIGURATION.read_text()
    assert {name for name in CONFIGS if f"| [{name}](../configs/{name}) |" not in text} == set()


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_options_that_are_named_exist(page):
    known = set(options_of(build_parser())) | TRAINING_OPTIONS
    of_models = {name for cls in CLASSES.values() for name in arguments(cls)} | {"help"}
    of_data = {name for cls in DATA for name in arguments(cls)} | {"help"}
    for option in re.findall(r"(?<![\w-])(--[a-z][\w.-]*\w)", page.read_text()):
        part, _, name = option.partition(".")
        if part == "--model":
            assert name in of_models, option
        elif part == "--data":
            assert name in of_data, option
        elif part != "--trainer":
            assert option in known


def test_arguments_have_the_documented_defaults():
    for names, argument, default in documented(CONFIGURATION.read_text()):
        for name in names:
            actual = arguments(CLASSES[name])[argument]
            if actual is inspect.Parameter.empty:
                assert default == "required", argument
            else:
                assert yaml.safe_load(default.strip("`")) == actual, f"{name}.{argument}"


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"BaseModule", "ContrastiveModule"}))
def test_every_argument_is_explained(name):
    explained = {argument for names, argument, _ in documented(CONFIGURATION.read_text()) if name in names}
    assert explained == set(arguments(CLASSES[name])) - WRITTEN_BY_CHECKPOINTS
