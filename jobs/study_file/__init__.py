"""Reads a study from study.toml, or from the same tables in Python, checks all of it, and makes its cells."""
