"""What leaves the database: exports, results, energy, text tables."""
