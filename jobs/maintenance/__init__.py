"""The doctor and the cleanup of files that nobody needs."""
