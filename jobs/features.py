"""Fit the feature spec on the train fold, or update the view that the conf offers."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("features")
