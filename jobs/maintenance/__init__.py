"""Implements `fts doctor` and the cleanup of files that are no longer needed."""
