"""Turns a Snapshot into the words that the monitor and `fts status` show: no textual, and almost no I/O."""
