"""Lightning command line of fit, validate, test and predict; checkpoints; checks before a run."""
