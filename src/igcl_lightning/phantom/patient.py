"""The people of a phantom collection: who they are, which studies are theirs, and which split they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np

from igcl_lightning.phantom import difficulty

STUDIES_PER_BLOCK = 6
PATIENTS_PER_BLOCK = 3
PATIENTS_PER_ROUND = 10
ROUND_SPLITS: tuple[str, ...] = ("train",) * 7 + ("valid",) + ("test",) * 2


class Stream(IntEnum):
    """What random numbers are for: each use has its own, so that none disturbs another."""

    PATIENT = 0
    BLOCK = 1
    ROUND = 2
    FINDINGS = 3
    SCENE = 4
    REPORT = 5
    FRONTAL = 6
    LATERAL = 7
    SHORTCUT = 8


VARIANTS: tuple[str, ...] = ("standard", "hard_negatives")
"""Collections: patients as they come, and pairs of studies that say the same words of other places."""


def generator(stream: Stream, number: int, seed: int, variant: str = "standard") -> np.random.Generator:
    """Return the random numbers of one use for one patient, block, round or study."""
    return np.random.default_rng((seed, VARIANTS.index(variant), stream, number))


@dataclass(frozen=True, slots=True)
class Patient:
    """A person, the same in each of their studies.

    Attributes:
        number: counts patients from 0.
        split: "train", "valid" or "test".
        age: in years.
        sex: "F" or "M".
        habitus: 0 slim to 1 obese; thickens the chest wall.
        width: inner half width of the thorax at its widest, in half image widths.
        apex: height y of the lung apices; y grows downwards, the image spans -1 to 1.
        rib_spacing: distance of neighbouring ribs.
        rib_slope: how steeply ribs run down, around 1.
        bone: density of the bones, around 1.
        knob: bulge of the aortic knob.
        heart_ratio: cardiothoracic ratio while the heart is normal.
        heart_tilt: share of the heart's width that lies left of the midline.
        pacemaker: side of a pacemaker, "" for none.
        sternotomy: wires hold the breastbone together.
    """

    number: int
    split: str
    age: float
    sex: str
    habitus: float
    width: float
    apex: float
    rib_spacing: float
    rib_slope: float
    bone: float
    knob: float
    heart_ratio: float
    heart_tilt: float
    pacemaker: str
    sternotomy: bool


def locate_patient(index: int, seed: int) -> tuple[int, int]:
    """Return the number of the patient of study `index`, and which of their studies it is.

    Every block of six studies belongs to three patients with one, two and three studies, in random order.
    """
    block, place = divmod(index, STUDIES_PER_BLOCK)
    counts = _block_counts(block, seed)
    ends = np.cumsum(counts)
    within = int(np.searchsorted(ends, place, side="right"))
    return block * PATIENTS_PER_BLOCK + within, place - int(ends[within] - counts[within])


@lru_cache(maxsize=64)
def _block_counts(block: int, seed: int) -> tuple[int, ...]:
    return tuple(generator(Stream.BLOCK, block, seed).permutation([1, 2, 3]).tolist())


@lru_cache(maxsize=64)
def _round_splits(round_number: int, seed: int) -> tuple[str, ...]:
    return tuple(generator(Stream.ROUND, round_number, seed).permutation(ROUND_SPLITS).tolist())


@lru_cache(maxsize=64)
def draw_patient(number: int, seed: int) -> Patient:
    """Draw patient `number`; of every ten patients seven train, one validates and two test."""
    split = _round_splits(number // PATIENTS_PER_ROUND, seed)[number % PATIENTS_PER_ROUND]
    return draw_person(number, split, generator(Stream.PATIENT, number, seed))


def draw_person(number: int, split: str, rng: np.random.Generator) -> Patient:
    """Draw the person who is patient `number`."""
    sex = str(rng.choice(("F", "M")))
    age = float(np.clip(rng.normal(58, 17), 18, 92).round())
    return Patient(
        number=number,
        split=split,
        age=age,
        sex=sex,
        habitus=float(rng.beta(1.6, 2.6)),
        width=float(rng.uniform(0.64, 0.76) - (0.03 if sex == "F" else 0.0)),
        apex=float(rng.uniform(-0.76, -0.64)),
        rib_spacing=float(rng.uniform(0.125, 0.155)),
        rib_slope=float(rng.uniform(0.75, 1.3)),
        bone=float(rng.uniform(0.7, 1.15) - 0.2 * (age > 70)),
        knob=float(rng.uniform(0.01, 0.035) + 0.0006 * age),
        heart_ratio=float(rng.uniform(*difficulty.NORMAL_HEART)),
        heart_tilt=float(rng.uniform(0.60, 0.71)),
        pacemaker=_draw_pacemaker(age, rng),
        sternotomy=bool(rng.random() < difficulty.STERNOTOMY * (age > difficulty.IMPLANT_AGE)),
    )


def _draw_pacemaker(age: float, rng: np.random.Generator) -> str:
    """Return the side of a pacemaker, or "" for none."""
    has_one = rng.random() < difficulty.PACEMAKER * (age > difficulty.IMPLANT_AGE)
    side = "left" if rng.random() < difficulty.PACEMAKER_LEFT else "right"
    return side if has_one else ""
