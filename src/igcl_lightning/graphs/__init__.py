"""Report text -> knowledge graph: schema, parser, RadGraph files, features."""
