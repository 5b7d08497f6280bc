"""Spark: the session, Delta tables and their commits, Arrow batches, the home folder."""
