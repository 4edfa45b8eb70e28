"""Retrieval and clinical statistics as pure functions, and thin torchmetrics classes that collect their inputs."""
