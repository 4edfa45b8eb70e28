"""Retrieval and clinical statistics: a pure function, and a thin torchmetrics class that collects what it needs."""
