"""Spark: the session, Delta tables, their commits and where state lives."""
