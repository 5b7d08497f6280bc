"""The labelled rows of a use case with their folds, the features fitted on them, and the checks before training."""
