"""Cells of a table in processes that have imported everything already; a new one takes eight seconds to do so."""

import json
import os
import sys

from matplotlib.figure import Figure

from igcl_lightning.protocols.cells import digest
from two_processes import BLANK, SERVER, save_blank


class Forked:
    """Stands for the `subprocess.Popen` of `cells._start`."""

    def __init__(self, cell, jobs, place, child):
        cell.folder.mkdir(parents=True, exist_ok=True)
        (cell.folder / "plan.json").write_text(json.dumps(cell.plan))
        self.process = SERVER.Process(target=run_forked, args=(cell, child, os.environ.get(BLANK)))
        self.process.start()

    def poll(self):
        return self.process.exitcode

    returncode = property(poll)

    def kill(self):
        self.process.kill()


def run_forked(cell, child, blank):
    with (cell.folder / "log.txt").open("w") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    os.dup2(os.pipe()[0], 0)  # never closes, as if the process that started the cell went on
    if blank:
        Figure.savefig = save_blank
    sys.argv = ["-c", str(cell.folder), digest(cell.plan)]
    exec(child, {})
