"""A study in a file: study.toml, or the same tables in Python, checked as a whole and made into cells."""
