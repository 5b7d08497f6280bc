"""The conf of a use case: one module per section."""
