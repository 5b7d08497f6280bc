"""Write the embedding vectors of the champion's network into a table."""

from keyfold.cli.main import run_script

if __name__ == "__main__":
    run_script("embeddings")
