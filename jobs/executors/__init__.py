"""Where trials run: on this machine, or on the nodes of an engine that exists."""
