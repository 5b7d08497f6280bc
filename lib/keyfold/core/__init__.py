"""Foundations: types, hashes, digests, SQL text, names of columns."""
