"""Reads the database for the monitor and caches what was read."""
