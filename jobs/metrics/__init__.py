"""Numbers of a study for Prometheus and a line for a load balancer, over HTTP, read-only."""
