"""Painters of single things: a grid, a curve, a meter, a bar of keys. Pure functions that return lines."""
