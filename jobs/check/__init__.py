"""Tries a study before it is put in line: real trials in a temporary folder, and what they say of the whole."""
