"""Retrieval and clinical statistics: each a pure function, and a thin torchmetrics class that collects its inputs."""
