"""Print the JSON Schema of a conf, so that an editor completes the YAML."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("schema")
