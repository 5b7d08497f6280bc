"""Networks for `train.model.torch`: each a small file, a function of what the features are. They need the package torch."""
