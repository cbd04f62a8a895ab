"""The files that `fts init` writes: a study file and an example of ten seconds, one module per kind of study."""
