"""Contestants of an evaluation: a model to pretrain, a checkpoint, an encoder by name, features, or a baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

import igcl_lightning.modules  # noqa: F401 (its classes are found by name)
from igcl_lightning import __version__
from igcl_lightning.errors import IgclError, UsageError, one_line, suggestion
from igcl_lightning.modules.base import BaseModule
from igcl_lightning.modules.checkpoint import CLASS_PATH, HYPER_PARAMETERS, read_checkpoint
from igcl_lightning.modules.contrastive import contrasts_reports
from igcl_lightning.nn.image_encoder import refuse_unknown_backbone
from igcl_lightning.protocols.cells import digest
from igcl_lightning.protocols.pretraining import epoch_words, folder_words
from igcl_lightning.protocols.rows import MAX_SEED, NAME, NAMED, Row
from igcl_lightning.quiet import quiet
from igcl_lightning.training.lightning_cli import check

METHODS = {
    "igcl": "pretrain/phantom.yaml",
    "convirt": "pretrain/phantom_convirt.yaml",
    "gloria": "pretrain/phantom_gloria.yaml",
    "reclf": "pretrain/phantom_reclf.yaml",
    "reclf_graph": "pretrain/phantom_reclf_graph.yaml",
    "simclr": "pretrain/phantom_simclr.yaml",
}
"""Configs of the methods that are pretrained on phantoms, with the same image encoder and number of epochs."""

METADATA, VIEW, PIXELS = FLOORS = "metadata", "view", "pixels"
"""Probes on what is known without a model (`floors`)."""

RANDOM, SUPERVISED = "random", "supervised"
BASELINES = (RANDOM, SUPERVISED, *FLOORS)
"""Encoders with random weights and training from scratch, of another's architecture or a named one, and floors."""

PREDICTIONS, FINE_TUNED = "predictions.parquet", "fine_tuned_predictions.parquet"
PLOTS, PAGE = "plots", "report.html"
TAKEN = ("store", "hard_negatives", "wandb", PLOTS, "results.json", PREDICTIONS, FINE_TUNED, "table.md", PAGE)
"""What an evaluation writes beside the folders of the contestants."""

SEEDS_APART = 1000
"""Distance of the seeds of two models' runs: that of draw 2 of the model with seed 7 is 7002."""


@dataclass(frozen=True, eq=False)
class Contestant:
    """Something that an evaluation compares, as plain values.

    Attributes:
        method: name in the results; contestants of one name and different seeds are averaged.
        seed: seed of its pretraining, None if it is the only one of its name.
        words: options of `igcl fit`, without folders, for a model that is pretrained first.
        checkpoint: pretraining checkpoint.
        image: an encoder by name instead, with its weights, or the architecture of a baseline.
        features: a file of features instead.
        side: what a model reads beside images, "graph" or "report"; "" for other contestants.
        architecture: its backbone and image size, for baselines; empty if it names none.
        scores: the scores that a model of images and reports has, such as "global".
        versus: names of those that it is compared with (default: the first one is compared with it).
        identity: a hash of what its results depend on: contents of files, options of pretraining.
    """

    method: str
    seed: int | None = None
    words: Sequence[str] = ()
    checkpoint: str | None = None
    image: Mapping[str, Any] | None = None
    features: str | None = None
    side: str = ""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    scores: Sequence[str] = ()
    versus: Sequence[str] | None = None
    identity: str = ""

    @property
    def title(self) -> str:
        """The name with the seed, such as "igcl-7"."""
        return self.method if self.seed is None else f"{self.method}-{self.seed}"

    @property
    def baseline(self) -> str:
        """One of `BASELINES`, "" for what is no baseline."""
        return self.method.partition(" ")[0] if self.method.partition(" ")[0] in BASELINES else ""

    @property
    def encoder(self) -> dict[str, Any]:
        """Arguments of a head that select the image encoder; none for a file of features."""
        if self.checkpoint is not None:
            return {"checkpoint": self.checkpoint}
        return {} if self.image is None else {"image": dict(self.image)}

    @property
    def no_encoder(self) -> str:
        """What it is if it has no encoder, "" if it has one."""
        if self.method in FLOORS:
            return "is a probe on what is known without a model"
        return "" if self.features is None else "is a file of features"

    def run_seed(self, draw: int = 0) -> int:
        """Return the seed of a run in the results, of one draw of labelled rows."""
        return draw + SEEDS_APART * (self.seed or 0)


def from_checkpoint(word: str) -> Contestant:
    """Read [NAME[:SEED]=]CKPT; the name of a model without one is that of its class.

    Raises:
        IgclError: there is no such checkpoint, or it does not name a class that is imported.
    """
    name, seed, path = _named(word)
    stored = read_checkpoint(path)[HYPER_PARAMETERS]
    kind = str(stored.get(CLASS_PATH, ""))
    if not kind:
        raise IgclError(f"{path}: does not name its class; was it written by igcl?")
    usual = kind.rpartition(".")[2].lower()
    module = BaseModule.load_from_checkpoint(path, map_location="cpu")
    return Contestant(
        name or usual, seed, checkpoint=path, identity=_content(path), **_described(module, stored.get("image"))
    )


def from_encoder(word: str) -> Contestant:
    """Read [NAME=]ENC: a file of features, or a backbone with published weights or those of @FILE.

    Raises:
        IgclError: there is no such file of features.
    """
    name, seed, value = _named(word)
    if value.endswith(".parquet"):
        if not Path(value).is_file():
            raise IgclError(f"{value}: no such file")
        return Contestant(name or Path(value).stem, seed, features=value, identity=_content(value))
    backbone, at, weights = value.partition("@")
    image = {"backbone": backbone, "weights": weights if at else "hub"}
    identity = digest(image, _content(weights) if at and Path(weights).is_file() else "")
    return Contestant(name or backbone.rpartition(":")[2], seed, image=image, identity=identity)


def to_pretrain(word: str, seed: int | None = None, epochs: int | None = None) -> Contestant:
    """Read METHOD[:SEED], one of `METHODS`; `seed` is that of a word without one.

    Raises:
        UsageError: there is no such method.
    """
    name, _, number = word.partition(":")
    if name not in METHODS:
        near = suggestion(name, METHODS) or f"; known are {', '.join(METHODS)}"
        raise UsageError(f"--train: no method {name!r}{near}")
    seed = _seed(number, word) if number else seed
    described = _read_words(["--config", METHODS[name], *epoch_words(epochs)])
    return _seeded(Contestant(name, None, **described), seed)


def from_row(row: Row) -> list[Contestant]:
    """Return the contestants of a complete row, one for each seed.

    Raises:
        IgclError, UsageError: `igcl fit` refuses its options; the message names the row.
    """
    with _naming(row):
        described = _read_words(row.words)
    return [_seeded(Contestant(row.name, versus=row.versus, **described), seed) for seed in row.seeds or ()]


def check_pairs(row: Row, store: str) -> None:
    """Raise an error that names the row if `igcl fit` refuses to train it on a store, as on a share of few pairs."""
    with _naming(row), quiet():
        check(["fit", *row.words, *folder_words(Path("CELL"), Path("CELL"), store)], opened=True)


@contextmanager
def _naming(row: Row) -> Iterator[None]:
    """Name the row in errors of its options."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"row {row.name!r}: {error.message}") from error
    except (IgclError, ValueError, TypeError, ImportError) as error:  # the latter from libraries, as for a null group
        raise IgclError(f"row {row.name!r}: {one_line(error)[:400]}") from error


def _seeded(contestant: Contestant, seed: int | None) -> Contestant:
    """Return a contestant that is pretrained with a seed."""
    words = [*contestant.words, *([] if seed is None else [f"--seed_everything={seed}"])]
    return replace(contestant, seed=seed, words=words, identity=digest(contestant.identity, seed))


def _read_words(words: Sequence[str]) -> dict[str, Any]:
    """Return what a contestant says of the model that these options of `igcl fit` pretrain.

    Raises:
        IgclError, UsageError: `igcl fit` or the model refuses them.
    """
    with quiet():
        merged, built = check(["fit", *words, *folder_words(Path("CELL"), Path("CELL"), "STORE")])
    image = yaml.safe_load(merged)["fit"]["model"]["init_args"].get("image")
    return {"words": [*words], "identity": digest(merged, __version__), **_described(built, image)}


def baseline(word: str, contestants: Sequence[Contestant]) -> Contestant | None:
    """Read BASELINE[:BACKBONE], with the architecture of the first contestant that has one; None without any.

    A backbone of timm takes the place of that of the contestant, and its name joins that of the baseline. Floors need
    no architecture.

    Raises:
        IgclError: there is no such backbone.
    """
    kind, _, backbone = word.partition(":")
    if kind in FLOORS:
        return Contestant(kind, identity=digest(kind, __version__))
    image = next((dict(each.architecture) for each in contestants if each.architecture), None)
    if backbone:
        refuse_unknown_backbone(backbone)
        image = {**(image or {}), "backbone": backbone}
    method = f"{kind} {backbone}".strip()
    identity = digest(method, image, __version__)
    return None if image is None else Contestant(method, image=image, identity=identity)


def check_names(contestants: Sequence[Contestant]) -> None:
    """Raise `IgclError` for a name that cannot be used, or that two contestants have."""
    titles = [each.title for each in contestants]
    for each in contestants:
        if each.baseline:
            raise IgclError(f"{each.method!r} is the name of a baseline; name the encoder differently with NAME=...")
        if each.title in TAKEN or each.method == "hard_negatives":  # its phantoms have seeds, too
            raise IgclError(f"{each.title!r} is the name of something else in --out; name it differently with NAME=...")
        if not NAME.fullmatch(each.method):
            raise IgclError(f"{each.method!r} is not a name of {NAMED}; give one with NAME=...")
        if titles.count(each.title) > 1:
            raise IgclError(
                f"two encoders are called {each.title!r}; give one another name with NAME=..., or the seed of its "
                "pretraining with NAME:SEED=..."
            )
        alone = each.seed is None
        if any(other.method == each.method and (other.seed is None) != alone for other in contestants):
            raise IgclError(f"one {each.method!r} has a seed, and another has none; give both one with NAME:SEED=...")


def _described(module: Any, image: Any) -> dict[str, Any]:
    """Return what a contestant says of its module, whose options of images are given."""
    named = isinstance(image, Mapping) and {"backbone", "size"} <= image.keys()
    return {
        "side": module.report_side if contrasts_reports(module) else "",
        "scores": getattr(module, "score_names", ()),
        "architecture": {name: image[name] for name in ("backbone", "size")} if named else {},
    }


def _content(file: str) -> str:
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _named(word: str) -> tuple[str | None, int | None, str]:
    """Split [NAME[:SEED]=]VALUE; a path that exists, or with a slash before the sign, has no name."""
    name, equals, value = word.partition("=")
    if not equals or "/" in name or Path(word).exists():
        return None, None, word
    name, _, number = name.partition(":")
    return name, _seed(number, word) if number else None, value


def _seed(number: str, word: str) -> int:
    if not number.isdecimal() or int(number) > MAX_SEED:
        raise UsageError(f"{word}: {number!r} is no seed, a whole number from 0 to {MAX_SEED}")
    return int(number)
