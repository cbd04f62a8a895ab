"""The database: its schema, all reads and all writes."""
