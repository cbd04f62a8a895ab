"""Runs trials on this machine, or on the nodes of an existing cluster (ssh, Slurm, Kubernetes, Ray)."""
