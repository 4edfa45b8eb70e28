"""`igcl demo`: IGCL on phantoms in minutes: prepare, pretrain, probe, compare with baselines."""

from __future__ import annotations

from pathlib import Path

from igcl_lightning.protocols.equal_budget import Comparison, Scale, clear, run_comparison, say

FULL = Scale(studies=3600, pretrain_epochs=None, supervised_epochs={0.01: 100, 0.1: 40, 1.0: 20})
FAST = Scale(240, 1, {0.1: 1, 1.0: 1}, fractions=(0.1, 1.0), shots=(5,), draws=2, seeds=1)


def run_demo(out: Path, fast: bool = False, seed: int | None = None) -> None:
    """Run the demo and print its table; the arguments are the options of `igcl demo`.

    Raises:
        IgclError: the folder contains something else.
    """
    scale = FAST if fast else FULL
    clear(out)
    demo = Comparison(out, out / "store", scale, name="demo", seed=seed)
    say(f"{scale.studies} synthetic chest radiographs with reports -> {demo.store}")
    demo.prepare_phantoms()
    run_comparison(demo, trained=["igcl"])
    say(f"training     {out / 'igcl' / 'version_0' / 'plots'}")
    say(f"checkpoint   {out / 'igcl' / 'version_0' / 'checkpoints' / 'last.ckpt'}")
    if fast:
        say("These are results on synthetic phantoms, too few of them to show more than that everything runs.")
    else:
        say("These are results on synthetic phantoms: they show that the method works, not how well on patients.")
