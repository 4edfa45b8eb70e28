"""`igcl doctor`: problems of a store or a config, found before a long run. Nothing is changed."""
