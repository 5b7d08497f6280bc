"""Resize, crop or filter every image of a table, by key."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("images")
