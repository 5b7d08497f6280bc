"""From labelled rows to a registered model: the rows of the train fold, a model that learns from them, trials, and what is said of it."""
