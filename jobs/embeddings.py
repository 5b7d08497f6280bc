"""Write the vectors of a network's features, those of the champion, into a table by feature and bucket."""

from keyfold.cli.main import main
from keyfold.jobs.embeddings import embeddings

if __name__ == "__main__":
    main(embeddings, __doc__)
