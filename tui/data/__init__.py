"""What the monitor reads, and how it is kept."""
