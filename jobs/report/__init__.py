"""The report of any study: what was found, how sure it is, and why, on one page that opens without a network."""
