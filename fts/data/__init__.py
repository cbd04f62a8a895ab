"""Daily bars, where they come from, what is recorded about them, their labels and splits."""
