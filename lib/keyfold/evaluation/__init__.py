"""Measures of predictions, with their intervals."""
