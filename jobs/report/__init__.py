"""The report of a study: results, their uncertainty and their origin, on one page that works offline."""
