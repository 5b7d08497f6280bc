"""The labelled rows of a use case with their folds: fitted features, gates, statistics."""
