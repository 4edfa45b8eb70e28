"""Errors in report graphs, in doses: what do dropped entities, wrong assertions and exchanged reports cost?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NoiseOptions:
    """Errors in the reports of the training split; each is a share from 0 to 1.

    Args:
        entities: entities that are dropped, with their relations.
        assertions: observations whose assertion is turned into its opposite.
        relations: relations that are dropped.
        reports: patients whose reports are exchanged for those of other patients.
        every_epoch: whether errors are drawn anew in each epoch, instead of once.
    """

    entities: float = 0.0
    assertions: float = 0.0
    relations: float = 0.0
    reports: float = 0.0
    every_epoch: bool = False
