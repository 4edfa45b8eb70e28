"""Packages import in one direction: what each may import is listed here, and drawn in docs/architecture.md."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "igcl_lightning"
BASE = {"__version__", "errors", "atomic", "processes", "run_folder", "closing", "quiet", "texts"}
"""What every package may import, and what imports no package."""

MAY_IMPORT = {
    "graphs": set(),
    "phantom": {"graphs"},
    "reports": {"graphs"},
    "data": {"graphs", "phantom", "reports"},
    "nn": {"graphs"},
    "losses": {"nn"},
    "metrics": {"nn"},
    "modules": {"graphs", "data", "nn", "losses", "metrics"},
    "evaluation": {"metrics"},
    "callbacks": {"graphs", "data", "nn", "losses", "metrics", "modules", "evaluation"},
    "training": {"data", "modules", "evaluation", "callbacks"},
    "protocols": {
        "graphs",
        "phantom",
        "reports",
        "data",
        "nn",
        "metrics",
        "modules",
        "evaluation",
        "callbacks",
        "training",
    },
    "doctor": {"graphs", "reports", "data", "metrics", "modules", "evaluation", "training"},
    "cli": {"graphs", "phantom", "reports", "data", "doctor", "training", "protocols"},
    "__main__": {"cli"},
}


def imported_modules(path):
    """Yield the full name of everything a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_packages(path):
    """Return the parts of this project that a file imports."""
    names = (name.split(".") for name in imported_modules(path))
    return {parts[1] for parts in names if parts[0] == "igcl_lightning"}


def test_every_package_is_listed():
    found = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    found |= {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert found == (MAY_IMPORT.keys() | BASE) - {"__version__"}


@pytest.mark.parametrize("package", [*MAY_IMPORT, *sorted(BASE - {"__version__"})])
def test_imports_go_one_way(package):
    folder = PACKAGE / package
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{package}.py"]
    allowed = MAY_IMPORT.get(package, set()) | BASE | {package}
    wrong = {path.relative_to(PACKAGE).as_posix(): imported_packages(path) - allowed for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_no_package_can_reach_itself():
    """The table of this test is itself without circles."""
    before = {}
    for package, allowed in MAY_IMPORT.items():
        assert allowed <= before.keys(), package
        before[package] = allowed


@pytest.mark.parametrize("package", ["graphs", "phantom", "reports", "nn", "losses", "metrics", "evaluation"])
def test_only_what_trains_needs_lightning(package):
    for path in (PACKAGE / package).rglob("*.py"):
        assert not any(name.split(".")[0] in ("lightning", "pytorch_lightning") for name in imported_modules(path)), (
            path
        )
