"""The monitor: shows the database and changes it through fts.jobs.actions."""
