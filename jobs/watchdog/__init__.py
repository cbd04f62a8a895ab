"""Watches memory, pace, heat and disk of a running trial, and acts on them."""
