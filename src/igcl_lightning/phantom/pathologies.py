"""The findings of the phantom: their frequencies, sides and zones.

To add a finding, add

1. a row to `PATHOLOGIES`, from which its label follows; 8 to 40 % of the studies should have it;
2. a drawing function to `findings.FRONTAL_FINDINGS`;
3. a drawing function, or None if it is not seen from the side, to `lateral_findings.LATERAL_FINDINGS`;
4. lines of the kind "noun" to each file in `phrases/`, enough for six different impressions, and of the kind "denied"
   to `known.tsv` and `reworded.tsv`; new words of `held_back.tsv` also to `HELD_BACK_WORDS` in
   `tests/phantom/test_phrasebook.py`;
5. its ranges by severity to `difficulty.py`;
6. the observations that name it to `WORDS` in `tests/phantom/test_phantom_report.py`.

Errors and tests name the finding with a missing part. A new row changes all studies.
"""

from __future__ import annotations

from dataclasses import dataclass

SCENARIOS: dict[str, float] = {
    "healthy": 0.25,
    "heart failure": 0.19,
    "large heart": 0.05,
    "infection": 0.17,
    "shallow breathing": 0.15,
    "collapsed lung": 0.15,
    "lesion": 0.15,
}
"""Weight of each scenario that a study is drawn from."""

SIDE_SIGNS: dict[str, tuple[int, ...]] = {"right": (-1,), "left": (1,), "bilateral": (-1, 1)}
"""Sign of x on each side of the patient; the patient's left is on the right of the image."""

ZONES: tuple[str, ...] = ("upper", "middle", "lower")


@dataclass(frozen=True, slots=True)
class Pathology:
    """Frequency and location of a finding."""

    chances: tuple[float, ...]  # chance in each of `SCENARIOS`
    bilateral: float = 0.0  # chance of lying on both sides; 1.0 for a finding that has no side
    zones: tuple[float, float, float] | None = None  # weights of `ZONES`; None for a finding without a zone
    ap_chance: float = 0.0  # added to the chance of an AP image, because the sick are imaged in bed
    chest_tube: float = 0.0  # chance of a chest tube if the finding is on one side and at least moderate
    in_lungs: bool = True  # no report with this finding calls the lungs clear
    hard_negative: bool = False  # occurs in the variant "hard_negatives"; must have a side and be easy to see

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides on which the finding may lie."""
        return ("right", "left") * (self.bilateral < 1) + ("bilateral",) * (self.bilateral > 0)


PATHOLOGIES: dict[str, Pathology] = {
    "Atelectasis": Pathology(
        (0.00, 0.12, 0.05, 0.18, 0.80, 0.18, 0.12), bilateral=0.25, ap_chance=0.08, hard_negative=True
    ),
    "Cardiomegaly": Pathology((0.00, 0.72, 0.95, 0.08, 0.10, 0.04, 0.06), bilateral=1.0, in_lungs=False),
    "Consolidation": Pathology(
        (0.00, 0.08, 0.05, 0.92, 0.08, 0.08, 0.08), zones=(0.27, 0.23, 0.50), ap_chance=0.08, hard_negative=True
    ),
    "Edema": Pathology((0.00, 0.75, 0.05, 0.05, 0.03, 0.00, 0.02), bilateral=1.0, ap_chance=0.30),
    "Lung Lesion": Pathology((0.00, 0.02, 0.02, 0.03, 0.02, 0.03, 0.95), zones=(0.45, 0.30, 0.25), hard_negative=True),
    "Pleural Effusion": Pathology(
        (0.00, 0.55, 0.10, 0.30, 0.25, 0.18, 0.18),
        bilateral=0.25,
        ap_chance=0.15,
        chest_tube=0.12,
        hard_negative=True,
    ),
    "Pneumothorax": Pathology(
        (0.00, 0.00, 0.00, 0.02, 0.05, 0.95, 0.04), ap_chance=0.08, chest_tube=0.45, hard_negative=True
    ),
}
"""The findings by name, in the order of the labels."""
