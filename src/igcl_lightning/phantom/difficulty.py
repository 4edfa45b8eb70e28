"""Settings of the difficulty of the phantom, except the frequencies of findings (`pathologies`).

Lengths are in half image widths, angles in radians, opacities in fractions of the air that a finding removes. Ranges
are (low, high) of a uniform draw. Wider nuisance ranges and lower opacities make the findings harder to read.
"""

from __future__ import annotations

from typing import TypeAlias

Range: TypeAlias = tuple[float, float]
BySeverity: TypeAlias = tuple[Range, Range, Range]

SEVERITY_WEIGHTS: tuple[float, float, float] = (0.45, 0.35, 0.20)
"""Share of mild, moderate and severe findings; mild ones are near the limit of what can be seen."""

CERTAINTY_WEIGHTS: tuple[tuple[float, float, float], ...] = ((0.55, 0.27, 0.18), (0.75, 0.17, 0.08), (0.92, 0.06, 0.02))
"""Share of definite, probable and possible statements about mild, moderate and severe findings."""

# Course from one study of a patient to the next.
FOLLOW_UP = 0.6  # share of later studies that follow the course of the previous one; the others are drawn independently
PERSISTENCE = 0.85  # share of findings that persist
NEW_FINDING = 0.2  # share of the findings of an independent draw that are added
CHANGE_WEIGHTS: tuple[float, float, float] = (0.25, 0.50, 0.25)  # milder, unchanged, more severe

# Views and devices.
AP_CHANCE = 0.18  # chance of an AP image without findings
LATERAL_SHARE = 0.25  # of PA studies
IMPLANT_AGE = 50  # years
PACEMAKER = 0.10  # of patients beyond `IMPLANT_AGE`
PACEMAKER_LEFT = 0.85
STERNOTOMY = 0.13  # of patients beyond `IMPLANT_AGE`
ENDOTRACHEAL_TUBE = 0.28  # of AP studies
NASOGASTRIC_TUBE: tuple[float, float] = (0.10, 0.75)  # of AP studies without and with an endotracheal tube
CATHETER: dict[str, float] = {"PA": 0.05, "AP": 0.35}
CATHETER_RIGHT = 0.75

# Nuisance: varies between studies and is independent of the findings.
SHIFT: Range = (-0.09, 0.09)
ZOOM: dict[str, Range] = {"PA": (0.92, 1.16), "AP": (0.96, 1.18)}
ROTATION: Range = (-0.06, 0.06)
INSPIRATION: dict[str, Range] = {"PA": (-0.13, 0.07), "AP": (-0.18, 0.02)}  # height of the domes; negative is shallow
AP_MAGNIFICATION = 1.06  # size of the heart, which lies far from the detector
LARGEST_HEART = 0.69
AP_MEDIASTINUM = 1.25  # width, for the same reason
AP_SCATTER = 0.07  # added to SCATTER
AP_WINDOW = 1.10  # width of the window, relative to PA: less contrast
ARM_ANGLE: dict[str, Range] = {"PA": (0.25, 0.75), "AP": (0.02, 0.3)}  # of the upper arms, from the vertical
PENETRATION: Range = (2.2, 3.6)  # attenuation of a full body thickness, in nepers
WINDOW_CENTER: Range = (-0.09, 0.09)
WINDOW_WIDTH: Range = (0.80, 1.45)
GAMMA: Range = (0.75, 1.35)
NOISE: Range = (0.006, 0.024)
SCATTER: Range = (0.05, 0.25)
LUNG_AIR: Range = (0.54, 0.72)  # body thickness that a lung removes where it is deepest
VESSELS: Range = (0.045, 0.105)
HAZE: Range = (0.0, 0.15)  # uneven haze over both lungs, not a finding
SKIN_FOLDS = 0.25  # share of studies with a line that mimics the border of a collapsed lung

# Findings: one range per severity, mild to severe.
NORMAL_HEART: Range = (0.41, 0.495)  # cardiothoracic ratio
LARGE_HEART: BySeverity = ((0.53, 0.56), (0.56, 0.61), (0.61, 0.68))
CONSOLIDATION_OPACITY: BySeverity = ((0.29, 0.42), (0.44, 0.60), (0.62, 0.86))
CONSOLIDATION_RADIUS: BySeverity = ((0.11, 0.16), (0.14, 0.21), (0.19, 0.29))
EDEMA_OPACITY: BySeverity = ((0.12, 0.20), (0.24, 0.36), (0.42, 0.60))
EFFUSION_HEIGHT: BySeverity = ((0.05, 0.10), (0.16, 0.30), (0.42, 0.75))
PNEUMOTHORAX_GAP: BySeverity = ((0.026, 0.048), (0.06, 0.105), (0.14, 0.26))
BAND_OPACITY: BySeverity = ((0.26, 0.38), (0.38, 0.52), (0.48, 0.66))
LESION_OPACITY: BySeverity = ((0.50, 0.65), (0.58, 0.78), (0.65, 0.90))
LESION_RADIUS: BySeverity = ((0.045, 0.06), (0.065, 0.095), (0.11, 0.16))
DOME_LIFT: BySeverity = ((0.01, 0.04), (0.04, 0.09), (0.10, 0.18))

# Devices: thickness that they add to the body, in chests.
TUBE = 0.10
CATHETER_LINE = 0.16
WIRE = 0.40
BOX = 0.9

SHORTCUT_SHARE: dict[str, tuple[float, float]] = {"train": (0.05, 0.95), "valid": (0.05, 0.95), "test": (0.5, 0.5)}
"""Share of studies without and with the label that have the mark."""
