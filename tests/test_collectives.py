"""What all processes take part in is called by all: never where only the first one is."""

import ast
from pathlib import Path
from types import SimpleNamespace

import igcl_lightning
from igcl_lightning.run_folder import run_folder

SOURCE = Path(igcl_lightning.__file__).parent
COLLECTIVE = {"all_gather", "all_gather_object", "all_reduce", "barrier", "broadcast", "reduce", "gather"}
COLLECTIVE |= {"run_folder", "plots_folder"}  # the first process's answer is sent to all
FIRST_ONLY = {"write", "publish", "draw", "table"}
"""Methods of callbacks that run on the first process only, as their docstrings say."""


def calls(node):
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            yield getattr(inner.func, "attr", getattr(inner.func, "id", ""))


def mentions_first(node):
    return any(getattr(inner, "attr", "") == "is_global_zero" for inner in ast.walk(node))


def parts_of_the_first_process(tree, in_callbacks):
    """Yield what stands behind a rank check, and the bodies of functions that run on the first process only."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.IfExp)) and mentions_first(node.test):
            yield from node.body if isinstance(node, ast.If) else [node.body]
        elif isinstance(node, ast.BoolOp) and mentions_first(node.values[0]):
            yield from node.values[1:]
        elif isinstance(node, ast.FunctionDef):
            decorators = {getattr(each, "id", "") for each in node.decorator_list}
            if "rank_zero_only" in decorators or (in_callbacks and node.name in FIRST_ONLY):
                yield node


def collectives_of_one_process(source, in_callbacks=True):
    parts = parts_of_the_first_process(ast.parse(source), in_callbacks)
    return [(part.lineno, name) for part in parts for name in calls(part) if name in COLLECTIVE]


def test_no_collective_stands_behind_a_rank_check():
    found = {
        path.relative_to(SOURCE).as_posix(): collectives_of_one_process(
            path.read_text(), path.parent.name == "callbacks"
        )
        for path in SOURCE.rglob("*.py")
    }
    assert {name: places for name, places in found.items() if places} == {}


def test_a_collective_of_one_process_is_found():
    for source in (
        "if trainer.is_global_zero and batches:\n    folder = run_folder(trainer)",
        "folder = run_folder(trainer) if trainer.is_global_zero else None",
        "done = trainer.is_global_zero and trainer.strategy.broadcast(1)",
        "@rank_zero_only\ndef keep(trainer):\n    dist.all_reduce(count)",
        "class Writer:\n    def write(self, outputs):\n        folder = run_folder(trainer)",
    ):
        assert collectives_of_one_process(source), source
    assert not collectives_of_one_process("folder = run_folder(trainer)\nif trainer.is_global_zero:\n    write(folder)")


def test_the_run_folder_is_the_one_of_the_first_process():
    strategy = SimpleNamespace(broadcast=lambda folder: f"{folder}/first")
    assert run_folder(SimpleNamespace(default_root_dir="own", logger=None, strategy=strategy)) == Path("own/first")
