"""What `fts init` writes: a study file and an example of ten seconds, one module for each kind of study."""
