"""Training: from labelled rows to a measured and registered model, with trials of its parameters."""
