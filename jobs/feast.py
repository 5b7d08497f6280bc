"""Write a Feast repository over feature views."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("feast")
