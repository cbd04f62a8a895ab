"""The seven screens and the dialogs over them."""
