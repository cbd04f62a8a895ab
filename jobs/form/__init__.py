"""What the enqueue form of the monitor is answered with: the studies that are there, their options, cells and costs."""
