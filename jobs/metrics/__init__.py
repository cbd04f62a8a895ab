"""Serves metrics of a study for Prometheus, and a health check, over HTTP, read-only."""
