"""TODO profiling."""
