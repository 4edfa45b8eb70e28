"""Readers, one per data set: each returns a `Source` of `Study` records.

Each raises an `IgclError` that names file, row and column if a file, a column or a cell is missing or invalid, if
tables contradict each other, or if no study has a graph in the given file.

Arguments that most readers have:
    root: folder of the tables, or one level above.
    images: folder of the images, with subfolders (default: `root`). Boxes and masks are in pixels of the original
        images, so images of another size do not fit.
    seed: seed of the training patients that become "valid" if the data set has splits, but no validation rows.
"""
