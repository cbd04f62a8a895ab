"""fts in a script or notebook: fts.load reads a study as tables, fts.create_study runs one, fts.Study declares one."""
