"""Chest X-ray representations learned by contrasting images with knowledge graphs of their reports."""

__version__ = "0.1.0"
