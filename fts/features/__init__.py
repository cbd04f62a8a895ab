"""Indicators of daily bars, by tier, and the proof that none of them sees tomorrow."""
