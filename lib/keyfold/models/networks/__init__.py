"""Networks for `train.model.torch`: each a small file, a function of what the features are. All but their conf need the package torch."""
