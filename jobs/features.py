"""Fit the feature spec on the train fold and keep it by its digest."""

from keyfold.cli import main
from keyfold.examples import features

if __name__ == "__main__":
    main(features, __doc__)
