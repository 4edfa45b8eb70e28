"""Localisation without training on regions: maps of labels against the boxes and masks of a store."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import seed_everything
from numpy.typing import NDArray
from torch import Tensor

from igcl_lightning.data.marked import Marked, marked_labels, marked_names
from igcl_lightning.data.modules import LabeledDataModule
from igcl_lightning.data.row_datasets import LabeledDataset
from igcl_lightning.data.store import Store
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.means import format_means, summarise_means
from igcl_lightning.evaluation.results import Record
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.metrics.localisation import (
    INTERPOLATIONS,
    OVERLAPS,
    PixelBox,
    box_hits,
    chance,
    overlap,
    part_boxes,
    pixel_box,
    pointing,
    to_pixels,
)
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.pretrained import PretrainedEncoder
from igcl_lightning.modules.saliency import BRANCHES, GradCamMaps, PromptMaps, import_grad_cam, why_no_map
from igcl_lightning.nn.checks import check_at_least, check_choice
from igcl_lightning.nn.external_encoder import ExternalOptions
from igcl_lightning.protocols.contestants import RANDOM, SUPERVISED, Contestant
from igcl_lightning.protocols.hard_negatives import quiet_trainer
from igcl_lightning.protocols.pictures import Examples, Picture, as_jpeg, radiograph, with_map
from igcl_lightning.protocols.protocol import Part, Protocol, check_score, compared
from igcl_lightning.protocols.zero_shot import ZeroShotProtocol

PROMPTS, GRAD_CAM = "prompts", "grad_cam"
WAYS = (PROMPTS, GRAD_CAM)

TOGETHER = 64
"""Images on the device at once."""

TITLES = {PROMPTS: "prompts", GRAD_CAM: "Grad-CAM"}
OF_IMAGES = ("pointing_chance", "hit_whole_image")
"""Metrics that depend on no map, by their beginning."""

COLUMNS_VERSION = 2
"""Version of the columns that `measure` returns: 2 has maps."""

MOST_EXAMPLES = 6
EXAMPLES = (
    "The first image in which each label is marked, however well it went. The brighter the colour, the higher "
    "the map; the line is the edge of the marked region."
)

ABOUT = ("row", "patient", "split", "label", "seed", "by")
"""Columns of a measured line that are no metric."""

Maps = Callable[[Tensor, Tensor], Tensor]
"""Maps [B, R, C] of images [B, 1, H, W] on any device, each for its label, int64 [B]."""


@dataclass(frozen=True)
class Localisation(Protocol):
    """Where a model sees a label, against boxes and masks: the pointing game, and boxes that overlap.

    Only images where a label is marked are asked about it.

    Args:
        by: maps to ask for: "prompts" of models that read reports, "grad_cam" of a linear probe of any encoder.
        overlaps: required overlaps of boxes, intersection over union.
        interpolation: how a map is brought to the pixels of the store (see `to_pixels`).
        prompts: file of prompts (default: those of the package).
        statements: statements of a label in a prompt (default: that of `ZeroShot`).
        score: "global" or "local", the score that prompts ask (default: local for a model that has it).
        baseline_seeds: encoders with random weights.
    """

    by: list[str] = field(default_factory=lambda: [*WAYS])
    overlaps: list[float] = field(default_factory=lambda: [*OVERLAPS])
    interpolation: str = "nearest"
    prompts: str | None = None
    statements: int | None = None
    score: str | None = None
    baseline_seeds: int = 3

    name: ClassVar[str] = "localisation"

    def check(self, store: Store, contestants: Sequence[Contestant]) -> None:
        """Raise `IgclError` for wrong options, labels that are not marked, a missing package, or as zero-shot does."""
        self._check_options()
        super().check(store, contestants)
        self._check_marks(store)
        if GRAD_CAM in self.by:
            import_grad_cam()
            for split in ("train", "valid"):
                if split not in store.splits:
                    raise IgclError(f"{store.path}: has no split {split!r}, which Grad-CAM's probe is fitted on")
        readers = [each for each in contestants if each.side]
        if PROMPTS in self.by and readers:
            check_score(self.name, self.score, readers)
            self._zero_shot(store).check(store, readers)

    def _check_options(self) -> None:
        at = f"protocol {self.name}:"
        if not self.by or len(set(self.by)) < len(self.by):
            raise IgclError(f"{at} by is {self.by}, not one or both of {', '.join(WAYS)}")
        for way in self.by:
            check_choice(f"{at} by", way, WAYS)
        if not self.overlaps or not all(0 < each <= 1 for each in self.overlaps):
            raise IgclError(f"{at} overlaps are {self.overlaps}, not numbers above 0 and at most 1")
        if len(set(self.overlaps)) < len(self.overlaps):
            raise IgclError(f"{at} overlaps are {self.overlaps}: one is given twice")
        if self.statements is not None:
            check_at_least(f"{at} statements", self.statements, 1)
        check_choice(f"{at} interpolation", self.interpolation, INTERPOLATIONS)
        if self.score is not None:
            check_choice(f"{at} score", self.score, BRANCHES)
        if self.baseline_seeds < 1:
            raise IgclError(f"{at} baseline_seeds is {self.baseline_seeds}, not at least 1")

    def _check_marks(self, store: Store) -> None:
        labels = self.labels_of(store)
        for split in self.splits:
            marked = marked_names(store, split)
            if self.labels is None and not marked.intersection(labels):
                names = f"only of {', '.join(sorted(marked))}; their names must be those of labels"
                none = "so that nothing can be localised; prepare it with boxes or masks (for phantoms, --masks)"
                told = names if marked else none
                raise IgclError(f"{store.path}: no row of {split} has a box or a mask of a label, {told}")
            if lacking := [label for label in self.labels or () if label not in marked]:
                raise IgclError(f"{store.path}: no row of {split} has a box or a mask of {', '.join(lacking)}")

    def labels_of(self, store: Store) -> list[str]:
        """Return the labels to evaluate: by default those with boxes or masks of their name in the splits."""
        if self.labels is not None:
            return self.labels
        marked = set().union(*(marked_names(store, split) for split in self.splits if split in store.splits))
        return [label for label in super().labels_of(store) if label in marked]

    def why_not(self, contestant: Contestant) -> str:
        """Return why a contestant cannot be asked, "" if it has maps."""
        if contestant.no_encoder:
            return f"{contestant.no_encoder}, without images to point in"
        if contestant.baseline == SUPERVISED:
            return "is trained from scratch"
        if not contestant.side and GRAD_CAM not in self.by:
            return "reads no reports, so no prompts"
        return _why_no_map(contestant)

    def settings(self, contestant: Contestant, part: Part) -> dict[str, Any]:
        """Return the options, and the prompts themselves, as zero-shot does."""
        prompts = ZeroShotProtocol(prompts=self.prompts).settings(contestant, part)["prompts"]
        return super().settings(contestant, part) | {"prompts": prompts, "columns": COLUMNS_VERSION}

    def measure(self, contestant: Contestant, store: Store, part: Part) -> pd.DataFrame:
        """Return a line for each map, image and label that is marked in it.

        Columns `row`, `patient`, `split`, `label`, `seed`, `by` (of `WAYS`), a number for each metric, and `map` (see
        `measure_maps`).
        """
        frames = []
        for by, seed, maps in self._maps(contestant, store):
            for split in self.splits:
                lines = measure_maps(maps, store, split, self.labels_of(store), self.overlaps, self.interpolation)
                frames.append(lines.assign(split=split, seed=seed, by=by))
        measured = pd.concat(frames, ignore_index=True)
        if measured.empty:
            raise IgclError(f"{store.path}: all masks of {', '.join(self.labels_of(store))} are empty")
        return measured

    def _maps(self, contestant: Contestant, store: Store) -> Iterator[tuple[str, int, Maps]]:
        """Yield each way to make maps, with the seed of its results."""
        device = quiet_trainer().strategy.root_device
        if PROMPTS in self.by and contestant.side:
            module = self._zero_shot(store).module(contestant, store).to(device)
            yield PROMPTS, contestant.run_seed(), PromptMaps(module, self.score)
        if GRAD_CAM not in self.by:
            return
        random = contestant.baseline == RANDOM
        for seed in range(self.baseline_seeds) if random else [contestant.run_seed()]:
            if random:
                seed_everything(seed, verbose=False)
            yield GRAD_CAM, seed, GradCamMaps(fitted_probe(contestant, store, self.labels_of(store)).to(device))

    def _zero_shot(self, store: Store) -> ZeroShotProtocol:
        """Return the protocol of the same prompts; the score is that of maps alone."""
        labels, statements = self.labels_of(store), self.statements
        return ZeroShotProtocol(splits=self.splits, labels=labels, prompts=self.prompts, statements=statements)

    def report(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> tuple[list[Record], str]:
        """Return means over the marked images of each label, their means over labels, and differences."""
        values = pd.concat([_long(lines).assign(method=each.method) for each, lines in measured.items()])
        about: dict[str, Any] = {"protocol": self.name, "store": store.path.name}
        found = summarise_means(values, versus=compared(measured), **about)
        records = [each for each in found if each["versus"] is None or not each["metric"].startswith(OF_IMAGES)]
        parts = [(split, by) for split in self.splits for by in self.by if f"pointing_{by}" in _metrics(records)]
        return records, "\n\n".join(self._table(records, *part) for part in parts)

    def examples(self, measured: Mapping[Contestant, pd.DataFrame], store: Store) -> list[Examples]:
        """Return the map of the first image in which each label is marked, of the first contestant, by each way."""
        contestant, lines = next(iter(measured.items()))
        lines = lines[lines["map"].notna() & (lines["seed"] == lines["seed"].iloc[0])]
        found = []
        for by, own in lines.groupby("by", sort=False):
            shown = own.drop_duplicates("label").head(MOST_EXAMPLES)
            pictures = [self._picture(line, str(by), store) for line in shown.to_dict("records")]
            title = f"Where {contestant.title} sees a label, by {TITLES[str(by)]}"
            found.append(Examples(title, EXAMPLES, pictures))
        return found

    def _picture(self, line: Mapping[Hashable, Any], by: str, store: Store) -> Picture:
        row = stable_hash(line["row"])
        split, place = store.rows[row]
        inside, _ = _region(next(marked_labels(store, split, [line["label"]], [place])), store.manifest["size"])
        saliency = np.array([[*each] for each in line["map"]], np.float32)
        pixels = with_map(radiograph(store, row), to_pixels(saliency, inside.shape, self.interpolation), inside)
        told = (
            f"{line['pointing']:.0%} of the brightest pixels are inside" if np.ptp(saliency) else "the same everywhere"
        )
        alt = f"Radiograph with the map of {line['label']} by {TITLES[by]} in colour: {told}."
        return Picture(line["label"], alt, as_jpeg(pixels), [("map", told)])

    def _table(self, records: Sequence[Record], split: str, by: str) -> str:
        """Return the table of one kind of maps, with the methods that have them."""
        titles = self._titles(by)
        methods = {each["method"] for each in records if each["metric"] == f"pointing_{by}"}
        asked = [each for each in records if each["method"] in methods]
        ordered = [each for metric in titles for each in asked if each["metric"] == metric]
        return f"{TITLES[by]}, {split} rows: {format_means(ordered, split, titles)}"

    def _titles(self, by: str) -> dict[str, str]:
        """Return the metrics of one kind of maps to print, hits at the first overlap only."""
        at = f"@{self.overlaps[0]:g}"
        pointed = {f"pointing_{by}": "pointing", f"pointing_{by}_blind": "blind", "pointing_chance": "chance"}
        return pointed | {f"hit_{by}{at}": f"box{at}", f"hit_whole_image{at}": f"whole image{at}"}


def fitted_probe(contestant: Contestant, store: Store, labels: Sequence[str]) -> LinearProbe:
    """Return a linear probe of a contestant's encoder, fitted on all training rows of a store."""
    probe = LinearProbe(**contestant.encoder, name=contestant.method)
    data = LabeledDataModule(str(store.path), labels=[*labels], batch_size=256)
    quiet_trainer(max_epochs=1, num_sanity_val_steps=0).fit(probe, data)
    return probe


def measure_maps(
    maps: Maps,
    store: Store,
    split: str,
    labels: Sequence[str],
    overlaps: Sequence[float] = OVERLAPS,
    interpolation: str = "nearest",
    batch_size: int = TOGETHER,
) -> pd.DataFrame:
    """Return how well maps find what is marked in a split, a line for each image and label that is marked in it.

    The region of a label is all pixels of its boxes and masks. Its true boxes are its boxes or, where it has none,
    those around the parts of its masks (see `part_boxes`).

    Args:
        maps: makes the maps of images on the CPU, such as `PromptMaps` or `GradCamMaps`.
        store: store with boxes or masks.
        split: split that is asked.
        labels: names of the labels, numbered as `maps` numbers them: all of its classifier or probe, in their order.
        overlaps: required overlaps of boxes, intersection over union.
        interpolation: how a map is brought to the pixels of the store (see `to_pixels`).
        batch_size: images at once.

    Returns:
        Columns `row`, `patient`, `label`; `pointing`; `blind`, the same with the map of the label in the next image of
        another patient in which it is marked, NaN without one: what the usual place of the label is worth; `chance`,
        the share of the region in the image; `hit@T` of each overlap, with `whole@T` of a box around the image; and
        `map`, that of the first image of each label as a list of rows, None for others.

    Raises:
        IgclError: a map has a value that is not finite.
    """
    marked = [each for each in marked_labels(store, split, labels) if each.boxes or _any(each)]
    rows, patients = store.column(split, "row"), store.column(split, "patient")
    table = pd.DataFrame({"place": [each.place for each in marked], "label": [each.label for each in marked]})
    table["row"], table["patient"] = ([of[each.place] for each in marked] for of in (rows, patients))
    made = _made(maps, LabeledDataset(store, split, labels), marked, labels, batch_size)
    other = _next_patient(table)
    lines = []
    for each, seen, blind in zip(marked, made, other, strict=True):
        inside, boxes = _region(each, store.manifest["size"])
        pixels = to_pixels(seen, inside.shape, interpolation)
        line = {"pointing": pointing(pixels, inside), "blind": np.nan, "chance": chance(inside)}
        if blind is not None:
            line["blind"] = pointing(to_pixels(made[blind], inside.shape, interpolation), inside)
        hits = box_hits(pixels, boxes, overlaps)
        line |= {f"hit@{at:g}": hit for at, hit in zip(overlaps, hits, strict=True)}
        whole = max(overlap(PixelBox(0, 0, *inside.shape), box) for box in boxes)
        lines.append(line | {f"whole@{at:g}": float(whole >= at) for at in overlaps})
    again = table["label"].duplicated()
    shown = [None if known else seen.tolist() for known, seen in zip(again, made, strict=True)]
    return pd.concat([table.drop(columns="place"), pd.DataFrame(lines), pd.Series(shown, name="map")], axis=1)


def _made(
    maps: Maps, images: LabeledDataset, marked: Sequence[Marked], labels: Sequence[str], batch_size: int
) -> list[NDArray[np.float32]]:
    """Return the map [R, C] of each marked label."""
    made: list[NDArray[np.float32]] = []
    for start in range(0, len(marked), batch_size):
        some = marked[start : start + batch_size]
        image = images.batch([each.place for each in some]).image
        label = torch.tensor([labels.index(each.label) for each in some])
        found = maps(image, label).float().cpu()
        if not found.isfinite().all():
            raise IgclError("a map has a value that is not finite: the model has diverged")
        made += [*found.numpy()]
    return made


def _any(marked: Marked) -> bool:
    mask = marked.mask()
    return mask is not None and bool(mask.any())


def _region(marked: Marked, size: int) -> tuple[NDArray[np.bool_], list[PixelBox]]:
    """Return the pixels and the true boxes of a marked label."""
    mask = marked.mask()
    inside = np.zeros((size, size), bool) if mask is None else mask.copy()
    boxes = [pixel_box(each[1:], inside.shape) for each in marked.boxes] or part_boxes(inside)
    for box in boxes if marked.boxes else ():
        inside[box.top : box.bottom, box.left : box.right] = True
    return inside, boxes


def _next_patient(table: pd.DataFrame) -> list[int | None]:
    """Return for each line the next one of its label that is of another patient, in a circle; None without one."""
    found: list[int | None] = [None] * len(table)
    for _, own in table.groupby("label", sort=False):
        places, patients = own.index.to_list(), own["patient"].to_list()
        for at, place in enumerate(places):
            turned = [*range(at + 1, len(places)), *range(at)]
            found[place] = next((places[each] for each in turned if patients[each] != patients[at]), None)
    return found


def _long(lines: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each value, with its metric; what depends on no map stands once, for the first kind of maps."""
    first, parts = lines["by"].iloc[0], []
    for by, own in lines.drop(columns="map").groupby("by", sort=False):
        for column in [name for name in own.columns if name not in ABOUT]:
            metric = _metric(column, str(by))
            if by == first or not metric.startswith(OF_IMAGES):
                parts.append(own[[*ABOUT]].assign(metric=metric, value=own[column]))
    return pd.concat(parts, ignore_index=True).drop(columns="by")


def _metrics(records: Sequence[Record]) -> set[str]:
    return {each["metric"] for each in records}


def _metric(column: str, by: str) -> str:
    """Return the metric of a column of `measure_maps`, such as "hit_prompts@0.1"."""
    kind, at, required = column.partition("@")
    names = {"pointing": f"pointing_{by}", "blind": f"pointing_{by}_blind", "chance": OF_IMAGES[0]}
    return names.get(kind) or f"{OF_IMAGES[1] if kind == 'whole' else f'hit_{by}'}{at}{required}"


@cache
def _why_no_map(contestant: Contestant) -> str:
    """Return why the image encoder of a contestant has no map, "" if it has one; its weights do not matter."""
    image = {**(contestant.image or contestant.architecture), "weights": "none"}
    options = ExternalOptions() if contestant.checkpoint else ExternalOptions(**image)
    encoder = PretrainedEncoder.find(contestant.checkpoint, options, None, "pooled", frozen=True)
    return why_no_map(encoder.image_encoder) if encoder is not None else "has no image encoder"
