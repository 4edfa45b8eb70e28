"""Image files of any format as grey squares, with their boxes and masks."""
