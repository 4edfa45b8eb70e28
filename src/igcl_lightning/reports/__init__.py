"""Radiology reports -> knowledge graphs: the work of `igcl graphs`."""
