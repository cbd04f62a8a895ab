"""Errors for bars that cannot become a data set."""


class BadBars(ValueError):
    """Bars that must not become a data set; the message names file, row and column."""


class ImplausibleBars(BadBars):
    """Bars that look wrong when rows are compared; --accept KIND keeps them."""
