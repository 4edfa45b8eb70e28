"""One reader per data set; each yields `Study` records."""
