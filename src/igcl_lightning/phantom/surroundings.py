"""What a report says beside the findings: the sections before them, and sentences about what no finding touches.

All of it is true of the scene; some of it, such as an old fracture, is of no consequence and not drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from igcl_lightning.phantom.phrasebook import Phrases
from igcl_lightning.phantom.scene import ZONED, Scene

LOW_VOLUMES = 0.43
"""Mean height y of the domes above which lung volumes are called low."""

SYMPTOMS: Phrases = (
    "cough",
    "fever",
    "chest pain",
    "shortness of breath",
    "dyspnea",
    "weakness",
    "fever and cough",
    "hypoxia",
    "a fall",
)

PRIORS: Phrases = (
    "Prior chest radiograph.",
    "Chest radiograph of the previous admission.",
    "Most recent chest radiograph.",
)

TECHNIQUES: dict[tuple[str, bool], Phrases] = {
    ("PA", False): ("Single PA view of the chest.", "PA chest radiograph."),
    ("PA", True): ("PA and lateral views of the chest.", "Frontal PA and lateral chest radiographs."),
    ("AP", False): ("Portable AP chest radiograph.", "Single AP view of the chest."),
    ("AP", True): ("AP and lateral views of the chest.",),
}
"""By view of the frontal image, and whether there is a lateral one."""


def has_rival_sides(scene: Scene) -> bool:
    """Say whether findings are told apart by their side: one on the left, one on the right."""
    return {"left", "right"} <= {finding.side for finding in scene.findings}


def _mediastinum_rests(scene: Scene) -> bool:
    """Say whether nothing on one side pushes or pulls the mediastinum."""
    return all(finding.side == "bilateral" or finding.name in ZONED for finding in scene.findings)


def _volumes_are_low(scene: Scene) -> bool:
    """Say whether both domes stand high, by the pose alone."""
    lifted = scene.finding("Atelectasis") is not None or has_rival_sides(scene)
    return not lifted and sum(scene.domes) / 2 < LOW_VOLUMES


BYSTANDERS: tuple[tuple[Callable[[Scene], bool], Phrases], ...] = (
    (
        lambda scene: True,
        (
            "the [osseous:A>structures] [structures:A] are [intact:+@structures] .",
            "the [bony:A>thorax] [thorax:A] is [intact:+@thorax] .",
            "no [acute:->abnormality] [osseous:A] [abnormality:-@osseous] .",
            "no [acute:->fracture] [rib:A] [fracture:-@rib] is seen .",
            "the [upper:A>abdomen] [abdomen:A] is [unremarkable:+@abdomen] .",
            "no [free air:-@diaphragm] is seen under the [diaphragm:A] .",
        ),
    ),
    (
        _mediastinum_rests,
        (
            "the [mediastinal:A>contours] [contours:A] are [normal:+@contours] .",
            "the [hilar:A>contours] [contours:A] are [unremarkable:+@contours] .",
            "the [trachea:A] is [midline:+@trachea] .",
        ),
    ),
    (
        lambda scene: scene.patient.age > 55,
        (
            "there are [degenerative:+>changes] [changes:+@spine] of the [thoracic:A>spine] [spine:A] .",
            "[mild:+>changes] [degenerative:+>changes] [changes:+@spine] are seen in the [spine:A] .",
            "the [aorta:A] is [tortuous:+@aorta] .",
            "[atherosclerotic:+>calcifications] [calcifications:+@arch] of the [aortic:A>arch] [arch:A] are noted .",
            "an [old:+>fracture] [healed:+>fracture] [rib:A] [fracture:+@rib] is noted .",
            "the [aortic:A>arch] [arch:A] is [calcified:+@arch] .",
        ),
    ),
    (
        _volumes_are_low,
        (
            "[lung:A] [volumes:A>lung] are [low:+@lung] .",
            "[low:+@lung] [lung:A] [volumes:A>lung] .",
            "[low:+@lung] [lung:A] [volumes:A>lung] limit the evaluation .",
        ),
    ),
    (
        lambda scene: scene.view == "AP",
        (
            "portable technique limits evaluation .",
            "evaluation is limited by portable technique .",
        ),
    ),
    (
        lambda scene: scene.patient.habitus > 0.55,
        (
            "evaluation is limited by patient body habitus .",
            "assessment is limited by body habitus .",
        ),
    ),
)
"""Sentences about what no finding touches, each group with when it is true."""


def introduce(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """Return the sections "indication", "comparison" and "technique" of a study."""
    patient = scene.patient
    person = {"F": "woman", "M": "man"}[patient.sex]
    symptom, prior, technique = (
        options[int(rng.random() * len(options))]
        for options in (SYMPTOMS, PRIORS, TECHNIQUES[scene.view, scene.lateral])
    )
    return {
        "indication": f"{patient.age:.0f}-year-old {person} with {symptom}.",
        "comparison": prior if scene.ordinal else "None.",
        "technique": technique,
    }
