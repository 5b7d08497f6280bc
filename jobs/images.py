"""Make another image of every image of a table, by key: resized, cropped, filtered, as the conf lists it."""

from keyfold.cli.main import run_job
from keyfold.jobs.images import make_images

if __name__ == "__main__":
    run_job(make_images, __doc__)
