"""Losses of masks against loops and segmentation-models-pytorch."""

import math

import numpy as np
import pytest
import torch
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss

from igcl_lightning.losses.segmentation import bce_dice, focal_dice, soft_dice


def drawn(masks=3):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, masks, 5, 6, generator=generator, dtype=torch.float64)
    mask = torch.rand(4, masks, 5, 6, generator=generator) < 0.3
    known = torch.rand(4, masks, generator=generator) < 0.6
    known[:, -1] = False
    return logits, mask, known


def terms(logits, mask, known):
    """Mean entropy, mean focal term and soft Dice of the known masks, pixel by pixel."""
    entropy, focal, dices = [], [], []
    for number in range(mask.shape[1]):
        both = either = 0.0
        for image in np.flatnonzero(known[:, number]):
            for score, inside in zip(logits[image, number].ravel(), mask[image, number].ravel(), strict=True):
                probability = 1 / (1 + math.exp(-score))
                right = probability if inside else 1 - probability
                entropy.append(-math.log(right))
                focal.append(-((1 - right) ** 2) * math.log(right))
                both += 2 * probability * inside
                either += probability + inside
        if known[:, number].any():
            dices.append((both + 1) / (either + 1))
    return np.mean(entropy), np.mean(focal), np.mean(dices)


def test_losses_equal_loops():
    logits, mask, known = drawn()
    entropy, focal, dice = terms(logits.numpy(), mask.numpy(), known.numpy())
    assert float(bce_dice(logits, mask, known)) == pytest.approx(entropy + 1 - dice)
    assert float(focal_dice(logits, mask, known)) == pytest.approx(10 * focal - math.log(dice))


def test_losses_equal_segmentation_models_pytorch():
    logits, mask, _ = drawn()
    known = torch.ones(4, 3, dtype=torch.bool)
    expected = 1 - DiceLoss("multilabel", smooth=0.5)(logits, mask.double())  # theirs is doubled
    assert float(soft_dice(logits, mask, known)) == pytest.approx(float(expected))
    focal = FocalLoss("multilabel", gamma=2.0)(logits, mask.double())
    assert float(focal_dice(logits, mask, known)) == pytest.approx(float(10 * focal - expected.log()))


@pytest.mark.parametrize("loss", [bce_dice, focal_dice])
def test_unknown_masks_take_no_part(loss):
    logits, mask, known = drawn()
    logits.requires_grad_()
    value = loss(logits, mask, known)
    assert loss(logits, mask ^ ~known[:, :, None, None], known) == value
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[~known].any()
    assert gradient[known].any()


@pytest.mark.parametrize("loss", [bce_dice, focal_dice])
def test_nothing_known_is_no_loss(loss):
    logits, mask, known = drawn()
    logits.requires_grad_()
    value = loss(logits, mask, torch.zeros_like(known))
    value.backward()
    assert value == 0
    assert not logits.grad.any()
