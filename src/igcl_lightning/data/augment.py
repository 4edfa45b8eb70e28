"""Batched augmentation of grey images on the device, in training only. No flips: the heart is on the left."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn


class Augment(nn.Module):
    """Random rotation, scale, shift, crop, blur, brightness, contrast and gamma, drawn per image.

    Args:
        degrees: largest rotation either way.
        scale: largest relative change of size either way.
        shift: largest shift either way, as a share of the side.
        contrast: largest relative change of contrast either way.
        brightness: largest change of brightness either way, on the scale 0-1.
        gamma: largest change of log gamma either way.
        crop_area: smallest share of the image's area that a random crop, enlarged to the whole, keeps; 1 keeps all.
        blur: largest standard deviation of a Gaussian blur, as a share of the side.
    """

    def __init__(
        self,
        degrees: float = 8.0,
        scale: float = 0.1,
        shift: float = 0.06,
        contrast: float = 0.2,
        brightness: float = 0.08,
        gamma: float = 0.2,
        crop_area: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        super().__init__()
        self.degrees = degrees
        self.scale = scale
        self.shift = shift
        self.contrast = contrast
        self.brightness = brightness
        self.gamma = gamma
        self.crop_area = crop_area
        self.blur = blur

    @torch.no_grad()
    def forward(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        """Map grey values 0-255 [B, 1, H, W] to float32 of the same range and shape.

        Args:
            image: uint8 or float.
            generator: of the draws, on the image's device; PyTorch's own by default.
        """
        draws = _Draws(len(image), image.device, generator)
        moved = self._move(image.float() / 255, draws)
        return self._tone(self._soften(moved, draws), draws).mul_(255)

    def _move(self, image: Tensor, draws: _Draws) -> Tensor:
        angle = draws.either_way(math.radians(self.degrees))
        zoom = 1 + draws.either_way(self.scale)
        # grid_sample counts in half sides, hence the factor 2.
        shift_x, shift_y = draws.either_way(2 * self.shift), draws.either_way(2 * self.shift)
        if self.crop_area < 1:
            side = draws.between(self.crop_area, 1).sqrt()
            zoom = zoom * side
            # A crop of this side, anywhere within the image.
            shift_x = shift_x + draws.either_way(1) * (1 - side)
            shift_y = shift_y + draws.either_way(1) * (1 - side)
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        matrix = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], dim=1).view(-1, 2, 3)
        grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, padding_mode="zeros", align_corners=False)

    def _soften(self, image: Tensor, draws: _Draws) -> Tensor:
        """Blur rows and columns by one matrix product each; at the border the weights within the image sum to one."""
        if not self.blur:
            return image
        height, width = image.shape[-2:]
        share = draws.between(0, self.blur)
        return _gaussian(share * height, height) @ image @ _gaussian(share * width, width).mT

    def _tone(self, image: Tensor, draws: _Draws) -> Tensor:
        def per_image(value: Tensor) -> Tensor:
            return value[:, None, None, None]

        image = image.clamp(min=1e-6) ** per_image(draws.either_way(self.gamma).exp())
        middle = image.mean(dim=(1, 2, 3), keepdim=True)
        image = (image - middle) * per_image(1 + draws.either_way(self.contrast)) + middle
        return (image + per_image(draws.either_way(self.brightness))).clamp(0, 1)


class _Draws:
    """Uniform random values, one per image."""

    def __init__(self, size: int, device: torch.device, generator: Generator | None) -> None:
        self.size = size
        self.device = device
        self.generator = generator

    def between(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.size, device=self.device, generator=self.generator)

    def either_way(self, limit: float) -> Tensor:
        return self.between(-1, 1) * limit


def _gaussian(deviation: Tensor, size: int) -> Tensor:
    """Return for each image the weights of a blur by `deviation` [B] pixels, [B, 1, size, size]; rows sum to one."""
    place = torch.arange(size, device=deviation.device)
    distance = (place[:, None] - place).square() / 2
    return (-distance / deviation.clamp(min=1e-3).square()[:, None, None, None]).softmax(dim=-1)
