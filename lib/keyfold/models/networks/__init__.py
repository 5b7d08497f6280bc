"""Networks for `train.model.torch`: one per file, built from the layout of the features. All but their conf need the package torch."""
