"""TODO split."""
