"""Scores of probabilities against labels, each with its interval; used by trials and reports."""
