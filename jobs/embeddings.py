"""Write the vectors of a network's features, those of the champion, into a table by feature and bucket."""

from keyfold.cli import main
from keyfold.embeddings import embeddings

if __name__ == "__main__":
    main(embeddings, __doc__)
