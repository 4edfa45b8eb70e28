"""From saved predictions to results: intervals over patients, paired differences, tables, plots."""
