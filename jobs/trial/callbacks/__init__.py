"""Callbacks for training libraries. After each epoch they report, save if a checkpoint is due, and prune."""
