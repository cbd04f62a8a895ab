"""Sampling, pruning and importance as pure functions of the recorded trials."""
