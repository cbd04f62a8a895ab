"""The memory: one database, every row of it and every change of it."""
