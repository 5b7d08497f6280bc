"""Score every key of a period with the champion, in one commit."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("score")
