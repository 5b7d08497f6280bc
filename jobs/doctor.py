"""Say what each engine needs and finds, which one a conf gets, and where state lives; try Delta writes."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("doctor")
