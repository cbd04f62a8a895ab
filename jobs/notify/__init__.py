"""Sends messages to a person's phone, by mail or by a command, when something needs them."""
