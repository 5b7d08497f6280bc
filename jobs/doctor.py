"""Print versions, master, memory and where state lives; try a Delta write and read."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("doctor")
