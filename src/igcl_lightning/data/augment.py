"""Batched augmentation of grey images on the device, in training only. No flips: the heart is on the left."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Augment(nn.Module):
    """Random rotation, scale, shift, brightness, contrast and gamma, drawn per image.

    Args:
        degrees: largest rotation either way.
        scale: largest relative change of size either way.
        shift: largest shift either way, as a share of the side.
        contrast: largest relative change of contrast either way.
        brightness: largest change of brightness either way, on the scale 0-1.
        gamma: largest change of log gamma either way.
    """

    def __init__(
        self,
        degrees: float = 8.0,
        scale: float = 0.1,
        shift: float = 0.06,
        contrast: float = 0.2,
        brightness: float = 0.08,
        gamma: float = 0.2,
    ) -> None:
        super().__init__()
        self.degrees = degrees
        self.scale = scale
        self.shift = shift
        self.contrast = contrast
        self.brightness = brightness
        self.gamma = gamma

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Map grey values 0-255 [B, 1, H, W] to float32 of the same range and shape."""
        return self._tone(self._move(image.float() / 255)).mul_(255)

    def _move(self, image: Tensor) -> Tensor:
        angle = self._draw(image, math.radians(self.degrees))
        zoom = 1 + self._draw(image, self.scale)
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        # grid_sample counts in half sides, hence the factor 2.
        shift_x, shift_y = self._draw(image, 2 * self.shift), self._draw(image, 2 * self.shift)
        matrix = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], dim=1).view(-1, 2, 3)
        grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, padding_mode="zeros", align_corners=False)

    def _tone(self, image: Tensor) -> Tensor:
        def per_image(value: Tensor) -> Tensor:
            return value[:, None, None, None]

        image = image.clamp(min=1e-6) ** per_image(self._draw(image, self.gamma).exp())
        middle = image.mean(dim=(1, 2, 3), keepdim=True)
        image = (image - middle) * per_image(1 + self._draw(image, self.contrast)) + middle
        return (image + per_image(self._draw(image, self.brightness))).clamp(0, 1)

    def _draw(self, image: Tensor, limit: float) -> Tensor:
        """Draw one value per image, uniform in -limit..limit."""
        return (torch.rand(len(image), device=image.device) * 2 - 1) * limit
