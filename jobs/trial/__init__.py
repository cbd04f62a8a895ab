"""The trial process: runs any objective in an environment of its own."""
