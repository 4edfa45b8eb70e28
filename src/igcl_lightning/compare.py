"""Pretraining methods, supervised training, random weights and other encoders, compared: what `make compare` runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from igcl_lightning.comparison import CONFIGS, Comparison, Encoder, Scale, clear, encoder_of, run_comparison
from igcl_lightning.errors import IgclError

COMPARE = Scale(
    studies=3600,
    pretrain_epochs=None,
    supervised_epochs={0.01: 100, 0.03: 60, 0.1: 40, 0.3: 30, 1.0: 20},
    fractions=(0.01, 0.03, 0.1, 0.3, 1.0),
    shots=(5, 20),
    hard_negatives=600,
)
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
) -> None:
    """Compare methods and encoders, and print one table.

    Args:
        out: folder of everything that is written; an earlier comparison there is replaced.
        store: the store to compare on; phantoms are made by default, and `trained` methods pretrained on them.
        trained: methods to pretrain, of `CONFIGS`; all by default, none with a store.
        checkpoints: pretrained models, PATH or NAME=PATH.
        encoders: timm:NAME, xrv:NAME or a Parquet file of embeddings; each may be named, NAME=ENCODER.
        labels: reported labels; all of the store's but "No Finding" by default.
        supervised: whether to train from scratch too.
        fast: a smaller one, which shows the way and not the numbers.

    Raises:
        IgclError: the folder holds something else, a method is unknown, or there is nothing to compare.
    """
    named = [_named(word) for word in checkpoints]
    known = [encoder_of(Path(path), name) for name, path in named]
    known += [_external(name, word) for name, word in map(_named, encoders)]
    trained = [*(CONFIGS if store is None else ())] if trained is None else trained
    for method in trained:
        if method not in CONFIGS:
            raise IgclError(f"--train: {method!r} is not one of {', '.join(CONFIGS)}")
    if trained and store is not None:
        raise IgclError("--train pretrains on phantoms; train on a store of yours with `igcl fit`, then --checkpoint")
    if not trained and not known:
        raise IgclError("nothing to compare: give --checkpoint or --encoder")
    clear(out)
    comparison = Comparison(out, store or out / "store", FAST if fast else COMPARE, labels, "compare")
    if store is None:
        comparison.prepare_phantoms()
    run_comparison(comparison, trained=trained, encoders=known, supervised=supervised)


def _named(word: str) -> tuple[str | None, str]:
    """Split NAME=VALUE; a word without a name has none."""
    name, equals, value = word.partition("=")
    return (name, value) if equals else (None, word)


def _external(name: str | None, word: str) -> Encoder:
    """Return an encoder that was not pretrained here."""
    if word.endswith(".parquet"):
        return Encoder(name or Path(word).stem, {}, word)
    return Encoder(name or word, {"backbone": word, "image_weights": "hub"})
