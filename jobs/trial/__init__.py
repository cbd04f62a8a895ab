"""The trial process: runs one objective, isolated from the worker and from other trials."""
