"""Splits: the fold of each row, and the thresholds of stratified splits."""
