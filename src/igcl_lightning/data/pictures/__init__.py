"""Image files of any format -> grey squares, with boxes and masks."""
