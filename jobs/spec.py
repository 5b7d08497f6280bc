"""Compare two fitted specs on the rows of a table, or print one as SQL."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("spec")
