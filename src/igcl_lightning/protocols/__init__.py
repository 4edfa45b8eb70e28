"""Who is compared with whom, on which rows, at which budget."""
