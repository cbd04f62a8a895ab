"""The interface between the runner and a study: objective, study, specification, protocol. Standard library only."""
