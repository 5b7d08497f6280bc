"""Batch scoring: one outcome a key."""
