"""Reads the machine's sensors on Linux and macOS, and NVIDIA GPUs."""
