"""Reports as hospitals write them -> their knowledge graphs: the work behind `igcl graphs`."""
