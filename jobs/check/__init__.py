"""Tries a study before it is enqueued: runs real trials in a temporary folder and forecasts the whole study."""
