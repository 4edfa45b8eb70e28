"""Who is compared with whom, with which statistics, and the tables and plots that show it."""
