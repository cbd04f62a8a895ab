"""fts in a script or a notebook: reads a study as tables (fts.load), runs one from its own file (fts.create_study)."""
