"""Memory, pace, heat and disk of a running trial: what is decided, and what is done about it."""
