"""Daily bars: their sources, manifest, labels and splits."""
