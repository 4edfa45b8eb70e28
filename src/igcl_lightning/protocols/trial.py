"""One trial of `igcl sweep`, in a process of its own: `igcl fit` with the words of this process."""

from __future__ import annotations

import sys
from functools import partial

from igcl_lightning.protocols.children import run_as_child
from igcl_lightning.quiet import quieten

if __name__ == "__main__":  # as a module, so that Lightning can start its further processes
    quieten()
    from igcl_lightning.training.lightning_cli import run

    run_as_child(partial(run, sys.argv[1:]))
