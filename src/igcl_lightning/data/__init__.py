"""Data sets -> store -> batches."""
