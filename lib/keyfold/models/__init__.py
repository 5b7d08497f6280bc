"""Models: what is trained, saved, loaded and asked."""
