"""Batched augmentation of grey images on the device, in training only. No flips: the heart is on the left.

`Augment.draw` draws the random values of a batch; images, masks and boxes are then transformed by the same values. A
draw can be repeated from its generator, from numbers, or from the row ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

NUM_DRAWN = 11
"""Random values of one image."""


class AugmentDraw(NamedTuple):
    """Random values of the augmentation of B images, each float32 [B].

    Attributes:
        angle: rotation, in radians.
        zoom: visible share of the image's side; above 1 the image shrinks.
        shift_x: shift of the visible part to the right, in half sides.
        shift_y: shift of the visible part downwards, in half sides.
        blur: standard deviation of the Gaussian, as a share of the side.
        gamma: exponent of the grey values, scale 0-1.
        contrast: factor of the deviation of grey values from their mean.
        brightness: value added to the grey values, scale 0-1.
    """

    angle: Tensor
    zoom: Tensor
    shift_x: Tensor
    shift_y: Tensor
    blur: Tensor
    gamma: Tensor
    contrast: Tensor
    brightness: Tensor


@dataclass(frozen=True)
class Augment:
    """Random rotation, scale, shift, crop, blur, brightness, contrast and gamma, drawn per image.

    Attributes:
        degrees: largest rotation either way.
        scale: largest relative change of size either way.
        shift: largest shift either way, as a share of the side.
        contrast: largest relative change of contrast either way.
        brightness: largest change of brightness either way, on the scale 0-1.
        gamma: largest change of log gamma either way.
        crop_area: smallest share of the image's area in a random crop, which is then enlarged; 1 keeps all.
        blur: largest standard deviation of a Gaussian blur, as a share of the side.
    """

    degrees: float = 8.0
    scale: float = 0.1
    shift: float = 0.06
    contrast: float = 0.2
    brightness: float = 0.08
    gamma: float = 0.2
    crop_area: float = 1.0
    blur: float = 0.0

    def __call__(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw for a batch of images and apply the draw (see `draw`, `apply`)."""
        return self.apply(image, self.draw(len(image), image.device, generator))

    def draw(self, size: int, device: torch.device, generator: Generator | None = None) -> AugmentDraw:
        """Draw for `size` images, with a generator of that device (default: PyTorch's)."""
        return self._scaled(torch.rand(size, NUM_DRAWN, device=device, generator=generator))

    def draw_from(self, numbers: Sequence[int], size: int, device: torch.device) -> AugmentDraw:
        """Draw for `size` images from numbers such as seed, epoch, batch and rank; the same on any device."""
        drawn = np.random.default_rng(numbers).random((size, NUM_DRAWN), np.float32)
        return self._scaled(torch.from_numpy(drawn).to(device))

    def draw_rows(self, row: Tensor, device: torch.device) -> AugmentDraw:
        """Draw from row ids, int64 [B]: a row's draw is the same in any batch and on any device."""
        drawn = [np.random.default_rng(number).random(NUM_DRAWN, np.float32) for number in row.tolist()]
        return self._scaled(torch.from_numpy(np.array(drawn, np.float32).reshape(-1, NUM_DRAWN)).to(device))

    def _scaled(self, uniform: Tensor) -> AugmentDraw:
        """Scale values uniform in [0, 1), [B, NUM_DRAWN], to a draw."""
        area, blur = uniform[:, :2].unbind(dim=1)
        either_way = (2 * uniform[:, 2:] - 1).unbind(dim=1)
        angle, zoom, shift_x, shift_y, crop_x, crop_y, gamma, contrast, brightness = either_way
        # A crop of this side, anywhere within the image.
        side = (self.crop_area + (1 - self.crop_area) * area).sqrt()
        return AugmentDraw(
            angle=angle * math.radians(self.degrees),
            zoom=(1 + zoom * self.scale) * side,
            shift_x=2 * self.shift * shift_x + (1 - side) * crop_x,
            shift_y=2 * self.shift * shift_y + (1 - side) * crop_y,
            blur=blur * self.blur,
            gamma=(gamma * self.gamma).exp(),
            contrast=1 + contrast * self.contrast,
            brightness=brightness * self.brightness,
        )

    @torch.no_grad()
    def apply(self, image: Tensor, draw: AugmentDraw) -> Tensor:
        """Augment grey values 0-255 [B, 1, H, W], uint8 or float; returns float32 of the same range and shape."""
        with torch.autocast(image.device.type, enabled=False):  # half precision has fewer than 256 greys
            moved = _sampled(image.float(), draw, "bilinear").div_(255)
            return _toned(self._softened(moved, draw), draw).mul_(255)

    @torch.no_grad()
    def apply_masks(self, mask: Tensor, draw: AugmentDraw) -> Tensor:
        """Move masks like images, with the nearest pixel, without blur and changes of grey values.

        Args:
            mask: M masks of each image, or class numbers, any type, [B, M, H, W].
            draw: draw of the images.

        Returns:
            Masks of the same type and shape; 0 outside of the original image.
        """
        return _sampled(mask.float(), draw, "nearest").to(mask.dtype)

    @torch.no_grad()
    def apply_boxes(self, boxes: Tensor, draw: AugmentDraw, size: tuple[int, int]) -> Tensor:
        """Move boxes like images: return the bounding box of the moved corners, clipped to the image.

        Args:
            boxes: x_min, y_min, x_max, y_max of K boxes of each image, in pixels from the outer edge of the first,
                float [B, K, 4]; NaN stays NaN.
            draw: draw of the images.
            size: height and width of the images, in pixels.

        Returns:
            float [B, K, 4]; a box that has left the image has no area.
        """
        side = boxes.new_tensor([size[1], size[0]])
        corners = boxes[..., [0, 1, 2, 1, 0, 3, 2, 3]].view(*boxes.shape[:2], 4, 2) * (2 / side) - 1
        cos, sin = torch.cos(draw.angle) / draw.zoom, torch.sin(draw.angle) / draw.zoom
        # `_sampled` maps output pixels to input pixels, so boxes move by the inverse.
        inverse = torch.stack([cos, sin, -sin, cos], dim=1).view(-1, 1, 2, 2).to(boxes)
        shift = torch.stack([draw.shift_x, draw.shift_y], dim=1)[:, None, None].to(boxes)
        moved = ((corners - shift) @ inverse.mT + 1) * (side / 2)
        return torch.cat([moved.amin(dim=2), moved.amax(dim=2)], dim=-1).clamp(
            min=side.new_zeros(4), max=side.repeat(2)
        )

    def _softened(self, image: Tensor, draw: AugmentDraw) -> Tensor:
        """Blur rows and columns by one matrix product each; weights are normalised within the image."""
        if not self.blur:
            return image
        height, width = image.shape[-2:]
        return _gaussian(draw.blur * height, height) @ image @ _gaussian(draw.blur * width, width).mT


def _sampled(image: Tensor, draw: AugmentDraw, mode: str) -> Tensor:
    """Rotate, scale, shift and crop float images [B, C, H, W], padded with black."""
    cos, sin = torch.cos(draw.angle) * draw.zoom, torch.sin(draw.angle) * draw.zoom
    matrix = torch.stack([cos, -sin, draw.shift_x, sin, cos, draw.shift_y], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode, padding_mode="zeros", align_corners=False)


def _toned(image: Tensor, draw: AugmentDraw) -> Tensor:
    """Change gamma, contrast around each image's mean, and brightness of grey values 0-1 [B, 1, H, W], in place."""
    gamma, contrast, brightness = (value[:, None, None, None] for value in (draw.gamma, draw.contrast, draw.brightness))
    image = image.clamp_(min=0).pow_(gamma)
    middle = image.mean(dim=(1, 2, 3), keepdim=True)
    return image.mul_(contrast).add_(middle * (1 - contrast) + brightness).clamp_(0, 1)


def _gaussian(deviation: Tensor, size: int) -> Tensor:
    """Return the weights of a blur by `deviation` [B] pixels, [B, 1, size, size]; rows sum to one."""
    place = torch.arange(size, device=deviation.device)
    distance = (place[:, None] - place).square() / 2
    return (-distance / deviation.clamp(min=1e-3).square()[:, None, None, None]).softmax(dim=-1)
