"""Write the vectors of a network's features, those of the champion, into a table by feature and bucket."""

from keyfold.cli.main import run_job
from keyfold.jobs.embeddings import write_embeddings

if __name__ == "__main__":
    run_job(write_embeddings, __doc__)
