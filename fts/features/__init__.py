"""Indicators of daily bars, by tier, and the check that none of them uses future bars."""
