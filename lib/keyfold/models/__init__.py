"""Models: trained, saved, loaded, and applied to raw rows."""
