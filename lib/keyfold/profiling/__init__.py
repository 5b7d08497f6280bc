"""A look at files, from which a first conf is written."""
