"""Lower bounds of dependencies, and the versions that `make install` takes, fit each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
DIRECT = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("line", DIRECT)
def test_a_direct_dependency_has_a_floor_that_its_pinned_version_meets(line):
    requirement = Requirement(line)
    assert [bound.operator for bound in requirement.specifier] == [">="]
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])


def test_extras_that_the_tests_need_have_one_floor():
    lines = {line for extra in EXTRAS.values() for line in extra}
    assert lines - set(DIRECT) == {"radgraph>=0.1.18"}  # not installed for the tests
