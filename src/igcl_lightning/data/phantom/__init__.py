"""The embedded default data: procedural frontal chest radiographs with reports, exact graphs, labels and masks.

Everything about a study follows from its index and the seed. The scene (patient, pose, findings) is drawn first; the
renderer and the report read it.
"""

from __future__ import annotations

from igcl_lightning.data.phantom.patient import draw_patient, locate_patient
from igcl_lightning.data.phantom.radiograph import render
from igcl_lightning.data.phantom.report import write_report
from igcl_lightning.data.phantom.scene import FINDINGS, draw_scene, study_generators
from igcl_lightning.data.study import Study, StudyImage

__all__ = ["FINDINGS", "phantom_study"]

SIZES: tuple[int, int] = (64, 512)
"""Smallest and largest image size, in pixels."""


def phantom_study(index: int, *, seed: int = 0, size: int = 128) -> Study:
    """Return phantom study `index`.

    The same index and seed give the same study, in any process; another size shows the same scene. Studies of one
    patient have neighbouring indices and the same split: of every ten patients seven train, one validates, two test.

    Args:
        index: 0 or more.
        seed: 0 or more; another seed is another collection.
        size: height and width of the image in pixels, 64 to 512.

    Raises:
        ValueError: `index`, `seed` or `size` is out of range.
    """
    if index < 0:
        raise ValueError(f"phantom index {index}: expected 0 or more")
    if seed < 0:
        raise ValueError(f"phantom seed {seed}: expected 0 or more")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"phantom size {size}: expected {SIZES[0]} to {SIZES[1]} pixels")
    number, _ = locate_patient(index, seed)
    patient = draw_patient(number, seed)
    scene_rng, report_rng, pixel_rng = study_generators(index, seed)
    scene = draw_scene(patient, scene_rng)
    report, graph = write_report(scene, report_rng)
    image, masks = render(scene, size, pixel_rng)
    labels = {name: float(scene.finding(name) is not None) for name in FINDINGS}
    study_id = f"phantom-{index:06d}"
    return Study(
        study_id=study_id,
        patient_id=f"phantom-patient-{number:06d}",
        images=(StudyImage(image_id=study_id, source=image, view="PA", masks=masks),),
        report=report,
        graph=graph,
        labels={**labels, "No Finding": float(not scene.findings)},
        split=patient.split,
        age=patient.age,
        sex=patient.sex,
    )
