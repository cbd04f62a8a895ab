"""Pure functions that turn a view into text, charts, colours and files."""
