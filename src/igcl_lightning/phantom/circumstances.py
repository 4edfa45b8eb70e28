"""Circumstances of a scene that decide what a report says about things that no finding touches."""

from __future__ import annotations

from collections.abc import Callable

from igcl_lightning.phantom.scene import Scene

LOW_VOLUMES = 0.43
"""Mean height y of the domes above which lung volumes are called low."""


def has_rival_sides(scene: Scene) -> bool:
    """Return whether sides tell findings apart: one lies on the left, one on the right."""
    return {"left", "right"} <= {finding.side for finding in scene.findings}


def _mediastinum_rests(scene: Scene) -> bool:
    """Return whether no finding of one side pushes or pulls the mediastinum."""
    return all(finding.side == "bilateral" or finding.zone for finding in scene.findings)


def _has_low_volumes(scene: Scene) -> bool:
    """Return whether both domes stand high because of the pose alone."""
    lifted = scene.finding("Atelectasis") is not None or has_rival_sides(scene)
    return not lifted and sum(scene.domes) / 2 < LOW_VOLUMES


CIRCUMSTANCES: dict[str, Callable[[Scene], bool]] = {
    "": lambda scene: True,
    "mediastinum at rest": _mediastinum_rests,
    "older": lambda scene: scene.patient.age > 55,
    "low lung volumes": _has_low_volumes,
    "AP": lambda scene: scene.view == "AP",
    "obese": lambda scene: scene.patient.habitus > 0.55,
}
"""Circumstances by the name they have in the phrase files."""
