"""fit, validate, test and predict: the Lightning command line, checkpoints, and checks before a run."""
