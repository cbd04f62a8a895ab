"""The runner: worker, trial supervision, watchdog, command line, and the actions a person can take."""
