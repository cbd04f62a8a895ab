"""What the machine measures about itself, on Linux, macOS and NVIDIA."""
