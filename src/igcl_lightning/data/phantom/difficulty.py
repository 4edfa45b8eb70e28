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
    "healthy": (0.25, (0.00, 0.00, 0.00, 0.00, 0.00, 0.00)),
    "heart failure": (0.20, (0.12, 0.72, 0.08, 0.75, 0.55, 0.00)),
    "large heart": (0.05, (0.05, 0.95, 0.05, 0.05, 0.10, 0.00)),
    "infection": (0.18, (0.18, 0.08, 0.92, 0.05, 0.30, 0.02)),
    "shallow breathing": (0.17, (0.80, 0.10, 0.08, 0.03, 0.25, 0.05)),
    "collapsed lung": (0.15, (0.18, 0.04, 0.08, 0.00, 0.18, 0.95)),
}
"""Weight of each scenario and the chance of each finding in it, in the order of `FINDINGS`."""

# Nuisance: varies between studies and says nothing about the findings.
SHIFT: Range = (-0.09, 0.09)
ZOOM: Range = (0.92, 1.16)
ROTATION: Range = (-0.06, 0.06)
INSPIRATION: Range = (-0.13, 0.07)  # height of the diaphragm domes around their mean; negative is shallow
PENETRATION: Range = (2.2, 3.6)  # attenuation of a full body thickness, in nepers
WINDOW_CENTER: Range = (-0.09, 0.09)
WINDOW_WIDTH: Range = (0.80, 1.45)
GAMMA: Range = (0.75, 1.35)
NOISE: Range = (0.006, 0.024)
SCATTER: Range = (0.05, 0.25)
LUNG_AIR: Range = (0.54, 0.72)  # body thickness that a lung takes away where it is deepest
VESSELS: Range = (0.05, 0.12)
HAZE: Range = (0.0, 0.15)  # uneven haze over both lungs, of no meaning
SKIN_FOLDS = 0.25  # share of studies with a line that mimics the border of a collapsed lung

# Findings: one range per severity, mild to severe.
NORMAL_HEART: Range = (0.41, 0.495)  # cardiothoracic ratio
LARGE_HEART: tuple[Range, Range, Range] = ((0.53, 0.56), (0.56, 0.61), (0.61, 0.68))
CONSOLIDATION_OPACITY: tuple[Range, Range, Range] = ((0.22, 0.35), (0.38, 0.55), (0.60, 0.85))
CONSOLIDATION_RADIUS: tuple[Range, Range, Range] = ((0.11, 0.16), (0.14, 0.21), (0.19, 0.29))
EDEMA_OPACITY: tuple[Range, Range, Range] = ((0.10, 0.18), (0.22, 0.34), (0.42, 0.60))
EFFUSION_HEIGHT: tuple[Range, Range, Range] = ((0.05, 0.10), (0.16, 0.30), (0.42, 0.75))
PNEUMOTHORAX_GAP: tuple[Range, Range, Range] = ((0.022, 0.045), (0.055, 0.10), (0.14, 0.26))
BAND_OPACITY: tuple[Range, Range, Range] = ((0.20, 0.32), (0.32, 0.48), (0.45, 0.65))
DOME_LIFT: tuple[Range, Range, Range] = ((0.0, 0.03), (0.04, 0.09), (0.10, 0.18))
