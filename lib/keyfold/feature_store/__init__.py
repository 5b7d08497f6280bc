"""TODO feature_store."""
