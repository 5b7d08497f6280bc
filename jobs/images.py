"""Make another image of every image of a table, by key: resized, cropped, filtered, as the conf lists it."""

from keyfold.cli.main import main
from keyfold.jobs.images import images

if __name__ == "__main__":
    main(images, __doc__)
