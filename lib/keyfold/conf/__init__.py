"""TODO conf."""
