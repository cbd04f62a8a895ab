"""How well probabilities fit labels, each score with its interval: a leaf that trials and reports share."""
