"""What the monitor and `fts status` both say at a glance: pure functions of a Snapshot, no I/O, no textual."""
