"""A worker that starts with the machine: a unit of systemd, or a property list of launchd."""
