"""The steps from studies to a store that may be interrupted."""
