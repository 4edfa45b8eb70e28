"""`docs/differences.md` points to tests that exist, and quotes values that the code and the configs have."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import yaml

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.modules import IGCL
from igcl_lightning.training.options import shipped_configs

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "differences.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
FACTS = [row for row in ROWS if row[0] not in ("Fact", "---")]
COLUMNS = {3: "igcl", 4: "igcl_paper", 5: "igcl_authors"}


def functions(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_the_page_has_facts():
    assert len(FACTS) > 50
    assert all(len(row) == 7 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", FACTS, ids=[row[0] for row in FACTS])
def test_each_fact_names_a_test_that_exists(row):
    path, _, function = row[6].strip("`").partition("::")
    assert function.startswith("test_")
    assert function in functions(ROOT / path)


def value_of(name, config):
    """Return an option's value in a config: as the YAML says, or the default where it is silent."""
    part, _, option = name.rpartition(".")
    if part == "trainer":
        return config["trainer"].get(option)
    if part == "data":
        default = inspect.signature(PairedDataModule).parameters[option].default
        return config["data"]["init_args"].get(option, default)
    default = getattr(inspect.signature(IGCL).parameters[part].default, option)
    return config["model"]["init_args"].get(part, {}).get(option, default)


def test_values_on_the_page_are_those_of_the_code():
    quoted = 0
    for column, name in COLUMNS.items():
        config = yaml.safe_load((shipped_configs() / "pretrain" / f"{name}.yaml").read_text())
        for row in FACTS:
            for argument, value in re.findall(r"`([\w.]+): ([^`]+)`", row[column]):
                assert value_of(argument, config) == yaml.safe_load(value), (row[0], name, argument)
                quoted += 1
    assert quoted > 90


def test_every_setting_that_the_two_configs_change_is_on_the_page():
    for column, name in COLUMNS.items():
        config = yaml.safe_load((shipped_configs() / "pretrain" / f"{name}.yaml").read_text())
        quoted = {argument for row in FACTS for argument, _ in re.findall(r"`([\w.]+): ([^`]+)`", row[column])}
        groups = config["model"]["init_args"].items()
        assert {f"{group}.{option}" for group, options in groups for option in options} <= quoted, name
