"""Pure functions that make text, charts, colours and files from a view."""
