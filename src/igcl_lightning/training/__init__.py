"""fit, validate, test and predict: Lightning with its command line, checkpoints and checks before the start."""
