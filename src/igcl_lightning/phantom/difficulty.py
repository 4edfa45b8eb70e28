"""Every number that decides how hard the phantom is, in one place.

Lengths are in half image widths, angles in radians, opacities in fractions of the air that a finding takes away. Ranges
are (low, high) of a uniform draw. Wider nuisance ranges and lower opacities make the findings harder to read.
"""

from __future__ import annotations

from typing import TypeAlias

Range: TypeAlias = tuple[float, float]

SEVERITY_WEIGHTS: tuple[float, float, float] = (0.45, 0.35, 0.20)
"""Share of mild, moderate and severe findings; mild ones are near the limit of what can be seen."""

SCENARIOS: dict[str, tuple[float, tuple[float, ...]]] = {
    "healthy": (0.25, (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00)),
    "heart failure": (0.19, (0.12, 0.72, 0.08, 0.75, 0.02, 0.55, 0.00)),
    "large heart": (0.05, (0.05, 0.95, 0.05, 0.05, 0.02, 0.10, 0.00)),
    "infection": (0.17, (0.18, 0.08, 0.92, 0.05, 0.03, 0.30, 0.02)),
    "shallow breathing": (0.15, (0.80, 0.10, 0.08, 0.03, 0.02, 0.25, 0.05)),
    "collapsed lung": (0.15, (0.18, 0.04, 0.08, 0.00, 0.03, 0.18, 0.95)),
    "lesion": (0.15, (0.12, 0.06, 0.08, 0.02, 0.95, 0.18, 0.04)),
}
"""Weight of each scenario and the chance of each finding in it, in the order of `PATHOLOGIES`."""

ZONE_WEIGHTS: dict[str, tuple[float, float, float]] = {
    "Consolidation": (0.27, 0.23, 0.50),
    "Lung Lesion": (0.45, 0.30, 0.25),
}
"""Share of the upper, middle and lower zone."""

BILATERAL: dict[str, float] = {"Atelectasis": 0.25, "Cardiomegaly": 1.0, "Edema": 1.0, "Pleural Effusion": 0.25}
"""Chance of a finding to be on both sides; the others never are."""

CERTAINTY_WEIGHTS: tuple[tuple[float, float, float], ...] = ((0.55, 0.27, 0.18), (0.75, 0.17, 0.08), (0.92, 0.06, 0.02))
"""Share of definite, probable and possible statements about mild, moderate and severe findings."""

# From one study of a patient to the next.
FOLLOW_UP = 0.6  # share of later studies that follow the course of the one before; the others are drawn anew
PERSISTENCE = 0.85  # share of findings that are still there
NEW_FINDING = 0.2  # share of the findings of a newly drawn study that come on top
CHANGE_WEIGHTS: tuple[float, float, float] = (0.25, 0.50, 0.25)  # milder, as severe, more severe

# Views and devices.
AP_CHANCE = 0.18
AP_CHANCE_OF: dict[str, float] = {
    "Edema": 0.30,
    "Pleural Effusion": 0.15,
    "Consolidation": 0.08,
    "Atelectasis": 0.08,
    "Pneumothorax": 0.08,
}
"""What each finding adds to the chance of an AP image: the sick are imaged in bed."""

LATERAL_SHARE = 0.25  # of PA studies
IMPLANT_AGE = 50
PACEMAKER = 0.10  # of patients beyond `IMPLANT_AGE`
PACEMAKER_LEFT = 0.85
STERNOTOMY = 0.13  # of patients beyond `IMPLANT_AGE`
ENDOTRACHEAL_TUBE = 0.28  # of AP studies
NASOGASTRIC_TUBE: tuple[float, float] = (0.10, 0.75)  # of AP studies without and with an endotracheal tube
CATHETER: dict[str, float] = {"PA": 0.05, "AP": 0.35}
CATHETER_RIGHT = 0.75
CHEST_TUBE: dict[str, float] = {"Pneumothorax": 0.45, "Pleural Effusion": 0.12}  # of one-sided ones, not the mild

# Nuisance: varies between studies and says nothing about the findings.
SHIFT: Range = (-0.09, 0.09)
ZOOM: dict[str, Range] = {"PA": (0.92, 1.16), "AP": (0.96, 1.18)}
ROTATION: Range = (-0.06, 0.06)
INSPIRATION: dict[str, Range] = {"PA": (-0.13, 0.07), "AP": (-0.18, 0.02)}  # of the domes; negative is shallow
AP_MAGNIFICATION = 1.06  # of the heart, which lies far from the detector
LARGEST_HEART = 0.69
AP_MEDIASTINUM = 1.25  # wider, for the same reason
AP_SCATTER = 0.07  # on top
AP_WINDOW = 1.10  # times as wide: flatter
ARM_ANGLE: dict[str, Range] = {"PA": (0.25, 0.75), "AP": (0.02, 0.3)}  # of the upper arms from the vertical
PENETRATION: Range = (2.2, 3.6)  # attenuation of a full body thickness, in nepers
WINDOW_CENTER: Range = (-0.09, 0.09)
WINDOW_WIDTH: Range = (0.80, 1.45)
GAMMA: Range = (0.75, 1.35)
NOISE: Range = (0.006, 0.024)
SCATTER: Range = (0.05, 0.25)
LUNG_AIR: Range = (0.54, 0.72)  # body thickness that a lung takes away where it is deepest
VESSELS: Range = (0.045, 0.105)
HAZE: Range = (0.0, 0.15)  # uneven haze over both lungs, of no meaning
SKIN_FOLDS = 0.25  # share of studies with a line that mimics the border of a collapsed lung

# Findings: one range per severity, mild to severe.
NORMAL_HEART: Range = (0.41, 0.495)  # cardiothoracic ratio
LARGE_HEART: tuple[Range, Range, Range] = ((0.53, 0.56), (0.56, 0.61), (0.61, 0.68))
CONSOLIDATION_OPACITY: tuple[Range, Range, Range] = ((0.29, 0.42), (0.44, 0.60), (0.62, 0.86))
CONSOLIDATION_RADIUS: tuple[Range, Range, Range] = ((0.11, 0.16), (0.14, 0.21), (0.19, 0.29))
EDEMA_OPACITY: tuple[Range, Range, Range] = ((0.12, 0.20), (0.24, 0.36), (0.42, 0.60))
EFFUSION_HEIGHT: tuple[Range, Range, Range] = ((0.05, 0.10), (0.16, 0.30), (0.42, 0.75))
PNEUMOTHORAX_GAP: tuple[Range, Range, Range] = ((0.026, 0.048), (0.06, 0.105), (0.14, 0.26))
BAND_OPACITY: tuple[Range, Range, Range] = ((0.26, 0.38), (0.38, 0.52), (0.48, 0.66))
LESION_OPACITY: tuple[Range, Range, Range] = ((0.50, 0.65), (0.58, 0.78), (0.65, 0.90))
LESION_RADIUS: tuple[Range, Range, Range] = ((0.045, 0.06), (0.065, 0.095), (0.11, 0.16))
DOME_LIFT: tuple[Range, Range, Range] = ((0.01, 0.04), (0.04, 0.09), (0.10, 0.18))

# Devices: thickness that they add to the body.
TUBE = 0.10
CATHETER_LINE = 0.16
WIRE = 0.40
BOX = 0.9

SHORTCUT_SHARE: dict[str, tuple[float, float]] = {"train": (0.05, 0.95), "valid": (0.05, 0.95), "test": (0.5, 0.5)}
"""Share of studies without and with the label that carry the planted mark."""
