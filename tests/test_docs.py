"""The pages for users are compared with the code: links, commands, options, defaults, examples."""

import argparse
import inspect
import json
import re
import shlex
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import yaml
from PIL import Image

from igcl_lightning import callbacks, modules
from igcl_lightning.cli import build_parser, main
from igcl_lightning.data import modules as data_modules
from igcl_lightning.evaluation.many_rows import format_compared
from igcl_lightning.evaluation.overview import format_overview
from igcl_lightning.evaluation.results import Record
from igcl_lightning.training.options import shipped_configs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "notebooks").glob("*.ipynb"))
README = ROOT / "README.md"
GUIDES = [
    README,
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("configuration", "data", "evaluation", "new_modality", "reclf", "results", "scale", "sweeps")
    ),
]
OF_SLURM = {"--array", "--signal", "--wrap", "--help-all", "--quiet"}
CONFIGURATION = ROOT / "docs" / "configuration.md"
CONFIGS = {path.relative_to(shipped_configs()).as_posix() for path in shipped_configs().rglob("*.yaml")}
DATA = tuple(getattr(data_modules, name) for name in data_modules.__all__)
CLASSES = {name: getattr(package, name) for package in (modules, callbacks) for name in package.__all__}
CLASSES = {name: cls for name, cls in CLASSES.items() if not is_dataclass(cls)}
CLASSES |= {datamodule.__name__: datamodule for datamodule in DATA}
BASES = {"BaseModule", "ContrastiveModule", "MatchingModule"}
WRITTEN_BY_CHECKPOINTS = {
    *("encoder", "label_names", "mask_names", "num_heads", "in_channels", "origin", "text.config", "prompt_lines"),
}
TRAINING_COMMANDS = {"fit", "validate", "test", "predict"}
TRAINING_OPTIONS = {"--config", "--debug", "--ckpt_path", "--print_config", "--import"}


def arguments(cls):
    """Return the constructor's arguments with their defaults, those of a group as GROUP.NAME."""
    found = {}
    for name, argument in inspect.signature(cls).parameters.items():
        if is_dataclass(argument.default):
            group = argument.default
            found |= {f"{name}.{field.name}": getattr(group, field.name) for field in fields(group)}
        else:
            found[name] = argument.default
    return found


def options_of(parser):
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from options_of(command)


def documented(text):
    """Yield class names, argument and default of each row of the tables under a heading that names classes."""
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        for argument, default in re.findall(r"^\| `([\w.]+)` \| (.*?) \|", body, re.MULTILINE):
            yield re.findall(r"`(\w+)`", heading), argument, default


def borrowed(text):
    """Yield class, other class and a group of arguments that it takes from the table of the other one."""
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        for other, groups in re.findall(r"As `(\w+)`: ((?:`\w+`(?:, )?)+)", body):
            yield from ((re.findall(r"`(\w+)`", heading)[0], other, group) for group in re.findall(r"`(\w+)`", groups))


def explained(name, text):
    """The documented defaults of a class, by argument; its own tables take precedence over borrowed ones."""
    own = {argument: default for names, argument, default in documented(text) if name in names}
    lent = [
        (argument, default)
        for borrower, other, group in borrowed(text)
        for names, argument, default in documented(text)
        if borrower == name and other in names and argument.startswith(f"{group}.")
    ]
    return {**dict(lent), **own}


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
        named = set(re.findall(r"\b((?:pretrain|probe|callbacks|logger|data|scale|sweep)/\w+\.yaml)", page.read_text()))
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
            assert name in {*of_models, ""}, option  # alone it names the class
        elif part == "--data":
            assert name in of_data, option
        elif part != "--trainer":
            assert option in known | OF_SLURM


def commands(page):
    """Return the `igcl` commands of a page's shell examples as words, but not of ecg.yaml, which another test runs."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.strip() for line in "".join(blocks).replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if re.match(r"igcl (?!.*ecg[.]yaml)", line)]


@pytest.mark.parametrize("words", [words for page in GUIDES for words in commands(page)], ids=" ".join)
def test_commands_are_understood(words, capsys):
    if words[0] in TRAINING_COMMANDS:
        known = [word for word, before in zip(words, ["", *words], strict=False) if "--ckpt_path" not in (word, before)]
        with pytest.raises(SystemExit, match="0"):
            main([*known, "--print_config"])
    else:
        build_parser().parse_args(words)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - BASES))
def test_every_argument_is_explained_with_its_default(name):
    written = explained(name, CONFIGURATION.read_text())
    actual = arguments(CLASSES[name])
    assert written.keys() == actual.keys() - WRITTEN_BY_CHECKPOINTS
    for argument, default in written.items():
        if actual[argument] is inspect.Parameter.empty:
            assert default == "required", argument
        else:
            assert yaml.safe_load(default.strip("`")) == plain(actual[argument]), argument


def plain(default):
    """A default as YAML reads it."""
    return list(default) if isinstance(default, tuple) else default


def test_the_code_of_the_readme_runs(phantom_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("stores").mkdir()
    Path("stores/phantom").symlink_to(phantom_store)
    first, second = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    names = {}
    exec(compile(first, str(README), "exec"), names)
    (checkpoint,) = Path("checkpoints").glob("*.ckpt")
    for name in ("chest.png", "chest.dcm"):  # files are read by content
        Image.fromarray(names["phantom_study"](0, size=64).images[0].source).save(name, format="png")
    exec(compile(re.sub(r"runs/.*?[.]ckpt", str(checkpoint), second), str(README), "exec"), names)
    assert (names["report"].shape, names["image"].shape) == ((2, 128), (2, 128))


def test_the_architecture_page_names_files_that_exist():
    paths = [
        path.as_posix()
        for folder in ("src", "tests", "configs", "docs", "benchmarks")
        for path in (ROOT / folder).rglob("*.*")
    ]
    page = (ROOT / "docs" / "architecture.md").read_text()
    page = page.partition("## Planned")[0] + page.partition("## Names")[2]
    named = set(re.findall(r"[\w/]+\.(?:py|yaml|tsv)\b", page)) - {"igcl_lightning.py"}
    missing = {name for name in named if "NAME" not in name and not any(path.endswith(f"/{name}") for path in paths)}
    assert missing - {"config.yaml"} == set()


def test_every_option_of_prepare_is_on_the_page_of_data():
    (commands,) = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    options = {option for option in options_of(commands.choices["prepare"]) if option.startswith("--")} - {"--help"}
    assert {option for option in options if option not in (ROOT / "docs" / "data.md").read_text()} == set()


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) < 200


@pytest.mark.parametrize("name", ["ablation", "lungs", "methods", "tasks"])
def test_a_table_of_results_is_that_of_its_records(name):
    records = json.loads((ROOT / "docs" / "results" / f"{name}.json").read_text())
    page = (ROOT / "docs" / "evaluation.md").read_text()
    table = page.partition(f"<!-- {name} -->\n```\n")[2].partition(f"\n```\n<!-- /{name} -->")[0]
    assert table == format_overview([dict.fromkeys(Record.__annotations__) | each for each in records])


def test_the_costs_of_graph_encoders_are_those_that_were_measured():
    records = json.loads((ROOT / "docs" / "results" / "ablation_costs.json").read_text())
    page = (ROOT / "docs" / "evaluation.md").read_text()
    table = page.partition("<!-- ablation-costs -->\n")[2].partition("\n<!-- /ablation-costs -->")[0]
    (_, *lines) = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    shown = {cells[0]: cells[1:] for cells in lines[1:]}
    for place, measured in enumerate(("ablation", "ablation_paper")):
        own = {each["measure"]: each for each in records if each["table"] == measured}
        for name, each in own.items():
            least, middle, most = (f"{each[f'ratio_{which}']:.2f}" for which in ("min", "median", "max"))
            told = [f"{middle} ({least}, {most})", f"{each['parameters']:,}"]
            assert shown[name][2 * place : 2 * place + 2] == told
        assert {name for name, cells in shown.items() if cells[2 * place]} == {*own}


def test_the_differences_of_the_ablation_are_those_of_its_records():
    given = json.loads((ROOT / "docs" / "results" / "ablation.json").read_text())
    records = [dict.fromkeys(Record.__annotations__) | each for each in given]
    asked = [each for each in records if each["metric"] == "within_patient_accuracy" and each["seed"] is not None]
    page = (ROOT / "docs" / "evaluation.md").read_text()
    name = "ablation-differences"
    table = page.partition(f"<!-- {name} -->\n```\n")[2].partition(f"\n```\n<!-- /{name} -->")[0]
    assert table == format_compared(records, Counter(each["method"] for each in asked))
