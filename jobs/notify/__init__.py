"""What a person is sent, and how: to a phone, by mail, or by a command, when something needs them."""
