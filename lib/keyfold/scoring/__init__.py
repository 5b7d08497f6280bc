"""Batch scoring: one row per key and period, with a prediction or the reason why there is none."""
