"""From sources to a store, and from a store to batches."""
