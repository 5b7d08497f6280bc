"""Metrics and curves of predictions, and columns that leak the label."""
