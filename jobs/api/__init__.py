"""The seam between the runner and a study: objective, study, specification, protocol; standard library only."""
