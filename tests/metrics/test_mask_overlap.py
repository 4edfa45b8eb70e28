"""Dice and IoU against loops over pixels, and their means over images."""

import numpy as np
import pytest
import torch

from igcl_lightning.metrics.segmentation import MaskOverlap, dice, iou, overlap


def loops(predicted, mask):
    """Dice and IoU of two masks, pixel by pixel; 1 where both are empty."""
    both = either = first = second = 0
    for one, other in zip(predicted.ravel(), mask.ravel(), strict=True):
        both += bool(one and other)
        either += bool(one or other)
        first += bool(one)
        second += bool(other)
    return (2 * both / (first + second), both / either) if either else (1.0, 1.0)


@pytest.fixture
def masks():
    """Random masks of 40 images, some empty."""
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(2, 40, 3, 1, 1, generator=generator) * (torch.rand(2, 40, 3, 1, 1, generator=generator) < 0.7)
    predicted, mask = torch.rand(2, 40, 3, 5, 7, generator=generator) < shares
    return predicted, mask


def test_dice_and_iou_equal_loops(masks):
    predicted, mask = masks
    pixels = overlap(predicted, mask)
    for number in np.ndindex(*pixels.shape[:2]):
        expected = loops(predicted[number].numpy(), mask[number].numpy())
        assert (float(dice(pixels)[number]), float(iou(pixels)[number])) == pytest.approx(expected)
    assert (pixels[..., 1:] == 0).all(dim=-1).any(), "no pair of empty masks among them"
    assert dice(pixels.numpy()) == pytest.approx(dice(pixels).numpy())


@pytest.mark.parametrize("size", [1, 7, 40])
def test_means_are_over_known_masks_of_images_whatever_their_batches(masks, size):
    predicted, mask = masks
    known = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    metric = MaskOverlap()
    rows = torch.arange(40)
    for batch in [*rows.split(size), rows[:2]]:  # a sampler may repeat rows
        metric.update(overlap(predicted[batch], mask[batch]), known[batch], batch)
    found = metric.compute()
    for number in range(3):
        values = [
            loops(predicted[row, number].numpy(), mask[row, number].numpy()) for row in range(40) if known[row, number]
        ]
        has = [bool(mask[row, number].any()) for row in range(40) if known[row, number]]
        assert float(found["dice"][number]) == pytest.approx(np.mean([value[0] for value in values]))
        assert float(found["iou"][number]) == pytest.approx(np.mean([value[1] for value in values]))
        positives = [value[0] for value, some in zip(values, has, strict=True) if some]
        assert float(found["dice_positives"][number]) == pytest.approx(np.mean(positives))


def test_a_mask_that_no_image_has_has_no_mean_of_positives():
    metric = MaskOverlap()
    empty = torch.zeros(2, 1, 3, 3, dtype=torch.bool)
    metric.update(overlap(empty, empty), torch.ones(2, 1, dtype=torch.bool), torch.arange(2))
    found = metric.compute()
    assert float(found["dice"]) == 1
    assert found["dice_positives"].isnan().all()
