"""Patients of a phantom collection: attributes, studies and splits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np

from igcl_lightning.phantom import difficulty

STUDIES_PER_BLOCK = 6
PATIENTS_PER_BLOCK = 3
ROUND_SPLITS: tuple[str, ...] = ("train",) * 7 + ("valid",) + ("test",) * 2
"""Splits of ten consecutive patients, before they are shuffled."""


class Stream(IntEnum):
    """Purposes of random numbers. Each has its own generator, so that they are independent."""

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
"""Collections: ordinary patients, or pairs of studies whose reports use the same words for different places."""


def generator(stream: Stream, number: int, seed: int, variant: str = "standard") -> np.random.Generator:
    """Return the random generator of one purpose for one patient, block, round or study."""
    return np.random.default_rng((seed, VARIANTS.index(variant), stream, number))


@dataclass(frozen=True, slots=True)
class Patient:
    """A person, the same in all of their studies. Lengths are in half image widths; y grows downwards from -1 to 1."""

    number: int  # counts patients from 0
    split: str  # "train", "valid" or "test"
    age: float  # in years
    sex: str  # "F" or "M"
    habitus: float  # 0 slim to 1 obese; thickens the chest wall
    width: float  # inner half width of the thorax at its widest
    apex: float  # height y of the lung apices
    rib_spacing: float  # distance of neighbouring ribs
    rib_slope: float  # slope of the ribs, around 1
    bone: float  # density of the bones, around 1
    knob: float  # bulge of the aortic knob
    heart_ratio: float  # cardiothoracic ratio of the normal heart
    heart_tilt: float  # share of the heart's width left of the midline
    pacemaker: str  # side of a pacemaker, "" for none
    sternotomy: bool  # whether there are sternal wires


def locate_patient(index: int, seed: int) -> tuple[int, int]:
    """Return the number of the patient of study `index`, and the number of the study among the patient's studies.

    Every block of six studies belongs to three patients with one, two and three studies, in random order.
    """
    block, place = divmod(index, STUDIES_PER_BLOCK)
    counts = _permuted((1, 2, 3), Stream.BLOCK, block, seed)
    ends = np.cumsum(counts)
    within = int(np.searchsorted(ends, place, side="right"))
    return block * PATIENTS_PER_BLOCK + within, place - int(ends[within] - counts[within])


@lru_cache(maxsize=128)
def _permuted(values: tuple[Any, ...], stream: Stream, number: int, seed: int) -> tuple[Any, ...]:
    return tuple(generator(stream, number, seed).permutation(values).tolist())


@lru_cache(maxsize=64)
def draw_patient(number: int, seed: int) -> Patient:
    """Draw patient `number`; of every ten patients seven train, one validates and two test."""
    round_number, place = divmod(number, len(ROUND_SPLITS))
    split = _permuted(ROUND_SPLITS, Stream.ROUND, round_number, seed)[place]
    return draw_person(number, split, generator(Stream.PATIENT, number, seed))


def draw_person(number: int, split: str, rng: np.random.Generator) -> Patient:
    """Draw the person who is patient `number`."""
    sex = str(rng.choice(("F", "M")))
    age = float(np.clip(rng.normal(58, 17), 18, 92).round())
    old = age > difficulty.IMPLANT_AGE
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
        pacemaker=_draw_pacemaker(difficulty.PACEMAKER * old, rng),
        sternotomy=bool(rng.random() < difficulty.STERNOTOMY * old),
    )


def _draw_pacemaker(chance: float, rng: np.random.Generator) -> str:
    """Return the side of a pacemaker, or "" for none."""
    has_one, on_left = rng.random() < chance, rng.random() < difficulty.PACEMAKER_LEFT
    return ("left" if on_left else "right") if has_one else ""
