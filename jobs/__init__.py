"""The work: queue, worker, trial supervision, watchdog, and the actions a person can take."""
