"""The window: a monitor that shows the database and acts through fts.jobs.actions."""
