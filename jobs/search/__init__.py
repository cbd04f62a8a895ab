"""Sampling, pruning and importance as functions of the record: no study object outlives a call."""
