"""Output made from the database: exports, results, energy, text tables."""
