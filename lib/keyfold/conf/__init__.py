"""The conf of a use case: one section a module."""
