"""Answers the enqueue form of the monitor: finds studies, and describes their options, cells and costs."""
