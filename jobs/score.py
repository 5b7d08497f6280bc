"""Answer every key of a period by the champion, in one commit."""

from keyfold.cli.main import run_job
from keyfold.scoring.job import score

if __name__ == "__main__":
    run_job(score, __doc__, {"strict": "refuse where packages are of other releases than the model was trained with"})
