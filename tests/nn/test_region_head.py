import numpy as np
import pytest
import torch

from igcl_lightning.nn.region_head import POSITIONS, GridPosition, RegionHead


@pytest.mark.parametrize("grid", [(POSITIONS, POSITIONS), (2, 3), (7, 7), (19, 14), (1, 1)])
def test_position_of_a_region_is_that_of_its_row_and_column(grid):
    torch.manual_seed(0)
    position = GridPosition(4)
    found = position(grid)
    for row, column in np.ndindex(*grid):
        # Centres of places, in units of a table's rows.
        centres = [(place + 0.5) * POSITIONS / size - 0.5 for place, size in zip((row, column), grid, strict=True)]
        expected = [
            np.interp(centres[0], np.arange(POSITIONS), position.row[:, channel].detach())
            + np.interp(centres[1], np.arange(POSITIONS), position.column[:, channel].detach())
            for channel in range(4)
        ]
        region = found[row * grid[1] + column].detach()
        torch.testing.assert_close(region, torch.tensor(expected, dtype=torch.float), atol=1e-6, rtol=1e-5)


def test_only_regions_with_a_position_differ_in_equal_images():
    region = torch.randn(1, 1, 5).expand(2, 6, 5)
    torch.manual_seed(0)
    with_position, without = RegionHead(5, 3, position=True), RegionHead(5, 3, position=False)
    assert without(region, (2, 3)).flatten(0, 1).unique(dim=0).shape[0] == 1
    assert with_position(region, (2, 3))[0].unique(dim=0).shape[0] == 6


def test_the_scale_of_a_feature_map_does_not_drown_the_position():
    torch.manual_seed(0)
    head, region = RegionHead(5, 3, position=True), torch.randn(2, 6, 5)
    torch.testing.assert_close(head(1e3 * region, (2, 3)), head(1e2 * region, (2, 3)), atol=1e-4, rtol=1e-4)
