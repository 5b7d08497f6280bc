"""List the versions of a registered model: time, test metrics, and which one is the champion."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("models")
