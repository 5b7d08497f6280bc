"""Feature tables and feature views, and their point-in-time join."""
