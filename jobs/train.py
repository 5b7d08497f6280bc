"""Train a model, measure and register it; make it the champion if it meets promote_if."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("train")
