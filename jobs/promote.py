"""Make a registered version the champion, which score uses: to roll back, or to promote by hand."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("promote")
