"""Readers, one per data set: each returns a `Source` of `Study` records."""
