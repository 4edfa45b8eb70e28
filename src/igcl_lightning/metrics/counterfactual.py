"""How often a model tells a report from its counterfactual, with the blind control."""

from __future__ import annotations

from torch import Tensor

from igcl_lightning.metrics.rows import RowMetric


class CounterfactualAccuracy(RowMetric):
    """Share of rows whose own report scores higher than its counterfactual, each row once; a tie counts against.

    Of the rows that have a counterfactual; `counterfactual_rows` is their number.

    The blind control asks the same of another image, which does not show what the report states: well above one half,
    reports are told apart by something other than the image.
    """

    higher_is_better = True
    collected = ("right", "blind", "valid")
    names = ("counterfactual_accuracy", "counterfactual_blind", "counterfactual_rows")

    def update(self, right: Tensor, blind: Tensor, valid: Tensor, row: Tensor) -> None:
        """Add a batch of B rows.

        Args:
            right: whether the own report wins for the own image, bool [B].
            blind: whether it wins for another row's image, bool [B].
            valid: whether the row has a counterfactual, bool [B].
            row: id of the row, int64 [B].
        """
        for name, value in (("right", right), ("blind", blind), ("valid", valid), ("row", row)):
            getattr(self, name).append(value.detach())

    def compute(self) -> dict[str, Tensor]:
        """Return scalars by name; empty if no row has a counterfactual."""
        if not len(self.row):
            return {}
        valid = self.each_row_once("valid")
        if not valid.any():
            return {}
        shares = (self.each_row_once(name)[valid].float().mean() for name in ("right", "blind"))
        return dict(zip(self.names, (*shares, valid.sum().float()), strict=True))
