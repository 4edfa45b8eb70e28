"""Image files of any format into grey squares, with what is marked on them."""
