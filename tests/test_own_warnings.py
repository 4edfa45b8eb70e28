"""Warnings of this package are lines like its errors; those of libraries are shown as Python does."""

import subprocess
import sys
import warnings

import igcl_lightning.modules
from igcl_lightning import cli, quiet
from igcl_lightning.quiet import own_warnings_as_lines


def test_own_warnings_have_no_path(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: shown.append(str(message)))
    own_warnings_as_lines()
    warnings.showwarning(UserWarning("a prompt is inverted"), UserWarning, igcl_lightning.modules.__file__, 3)
    assert capsys.readouterr().err == "igcl: warning: a prompt is inverted\n"
    assert not shown
    warnings.showwarning(UserWarning("theirs"), UserWarning, subprocess.__file__, 3)
    assert shown == ["theirs"]


def test_only_the_program_itself_shows_them_so(monkeypatch):
    asked = []
    monkeypatch.setattr(quiet, "own_warnings_as_lines", lambda: asked.append(True))
    monkeypatch.setattr(sys, "argv", ["igcl"])
    cli.main([])
    assert not asked
    cli.main()
    assert asked
