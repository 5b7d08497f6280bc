"""Assigns rows to folds, and fits the thresholds of stratified splits."""
