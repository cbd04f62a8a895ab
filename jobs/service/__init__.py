"""Makes a worker start with the machine: a systemd unit or a launchd property list."""
