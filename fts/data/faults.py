"""What is raised when bars cannot become a data set."""


class BadBars(ValueError):
    """Bars that must not become a data set: the message names file, row and column."""


class ImplausibleBars(BadBars):
    """Bars that look wrong between their rows; --accept takes them by the kind of finding."""
