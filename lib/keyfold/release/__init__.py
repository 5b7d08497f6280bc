"""Promotion of model versions."""
