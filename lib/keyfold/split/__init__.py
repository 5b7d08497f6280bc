"""The fold of a row."""
