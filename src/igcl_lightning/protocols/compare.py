"""`igcl compare` and `igcl demo`: IGCL, other pretraining, supervised training, random weights and other encoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from igcl_lightning.closing import command, write_closing
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError, suggestion
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.phantom import LABELS
from igcl_lightning.protocols.equal_budget import (
    CONFIGS,
    Comparison,
    Encoder,
    Scale,
    clear,
    encoder_of,
    run_comparison,
    say,
    say_progress,
)

COMPARE = Scale(
    studies=3600,
    pretrain_epochs=None,
    supervised_epochs={0.01: 100, 0.03: 60, 0.1: 40, 0.3: 30, 1.0: 20},
    fractions=(0.01, 0.03, 0.1, 0.3, 1.0),
    shots=(5, 20),
    hard_negatives=600,
)
DEMO = Scale(studies=3600, pretrain_epochs=None, supervised_epochs={0.01: 100, 0.1: 40, 1.0: 20})
OWN_STORE: dict[str, Any] = {"hard_negatives": 0, "supervised_learning_rate": 1e-3}
"""Settings on a store other than the phantoms'."""

FAST = Scale(240, 1, {0.1: 1, 1.0: 1}, fractions=(0.1, 1.0), shots=(5,), draws=2, seeds=1, hard_negatives=40)


def compare(
    out: Path,
    *,
    store: Path | None = None,
    trained: Sequence[str] | None = None,
    checkpoints: Sequence[str] = (),
    encoders: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    supervised: bool = True,
    fast: bool = False,
    seed: int | None = None,
) -> None:
    """Compare methods and encoders, and print one table; the arguments are the options of `igcl compare`.

    Raises:
        IgclError: an argument is wrong; raised before anything is removed or trained.
    """
    trained = [*(CONFIGS if store is None else ())] if trained is None else trained
    known = [encoder_of(Path(path), name) for name, path in map(_named, checkpoints)]
    known += [_external(name, word) for name, word in map(_named, encoders)]
    _check_methods(trained, known, store, seed)
    available = LABELS if store is None else Store(store).labels
    for label in labels or ():
        if label not in available:
            only = ", ".join(available) or "none"
            raise IgclError(f"--labels: no label {label!r}{suggestion(label, available) or f', only {only}'}")
    _check_inputs(out, store, known)
    clear(out)
    scale = (FAST if fast else COMPARE)._replace(**({} if store is None else OWN_STORE))
    comparison = Comparison(out, store or out / "store", scale, labels, "compare", seed)
    if store is None:
        comparison.prepare_phantoms()
    run_comparison(comparison, trained=trained, encoders=known, supervised=supervised)
    if fast:
        say("A small, fast run: its numbers show only that everything runs.\n")
    write_closing(comparison.outputs())


def run_demo(out: Path, fast: bool = False, seed: int | None = None) -> None:
    """Run the demo and print its table; the arguments are the options of `igcl demo`.

    Raises:
        IgclError: the folder contains something else.
    """
    scale = FAST._replace(hard_negatives=0) if fast else DEMO
    clear(out)
    demo = Comparison(out, out / "store", scale, name="demo", seed=seed)
    say_progress(f"{scale.studies} synthetic chest radiographs with reports -> {demo.store}")
    demo.prepare_phantoms()
    run_comparison(demo, trained=["igcl"])
    shown = "only that everything runs" if fast else "that the method works, not how well on patients"
    say(f"These results are for {'a few ' * fast}synthetic phantoms: they show {shown}.\n")
    run = Path("igcl", "version_0")
    checkpoint = run / "checkpoints" / "last.ckpt"
    probe = ["fit", "--config", "probe/linear.yaml", "--data.store", str(demo.store)]
    write_closing(
        {
            **demo.outputs(run / "plots", checkpoint),
            "next": command([*probe, "--model.checkpoint", str(out / checkpoint)]),
        }
    )


def _named(word: str) -> tuple[str | None, str]:
    """Split NAME=VALUE; a path has no name."""
    name, equals, value = word.partition("=")
    return (name, value) if equals and "/" not in name and not Path(word).exists() else (None, word)


def _external(name: str | None, word: str) -> Encoder:
    """Return an encoder from a file of features, or from a backbone with published weights or those of @FILE."""
    if word.endswith(".parquet"):
        if not Path(word).is_file():
            raise IgclError(f"{word}: no such file")
        return Encoder(name or Path(word).stem, {}, word)
    backbone, at, weights = word.partition("@")
    return Encoder(name or backbone, {"image": {"backbone": backbone, "weights": weights if at else "hub"}})


def _check_methods(trained: Sequence[str], known: Sequence[Encoder], store: Path | None, seed: int | None) -> None:
    for method in trained:
        if method not in CONFIGS:
            raise IgclError(f"--train: {method!r} is not one of {', '.join(CONFIGS)}")
    if trained and store is not None:
        raise IgclError("--train pretrains on phantoms only; for your own store use `igcl fit`, then --checkpoint")
    if seed is not None and not trained:
        raise IgclError("--seed is the seed of pretraining, and nothing is pretrained here; leave it out")
    if not trained and not known:
        raise IgclError("nothing to compare: give --checkpoint or --encoder")
    names = [*trained, *(encoder.method for encoder in known)]
    for name in names:
        if name in ("random", "supervised"):
            raise IgclError(f"{name!r} is the name of a baseline; name the encoder differently with NAME=...")
        if names.count(name) > 1:
            raise IgclError(f"two encoders are called {name!r}; give one another name with NAME=...")


def _check_inputs(out: Path, store: Path | None, known: Sequence[Encoder]) -> None:
    """Check that no input is in the folder that will be replaced, and that each encoder can be built."""
    for path in (store, *(encoder.features or encoder.options.get("checkpoint") for encoder in known)):
        if path is not None and out.resolve() in (Path(path).resolve(), *Path(path).resolve().parents):
            raise IgclError(f"{path}: is in --out {out}, which will be replaced; choose another --out")
    for encoder in known:
        LinearProbe(**encoder.options)  # fail now, not after an hour of training
