"""Protocols that compare methods at the same budget."""
