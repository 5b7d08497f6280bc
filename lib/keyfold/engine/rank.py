"""`python -m keyfold.engine.rank FOLDER PARENT`: runs the work that a launcher left in a folder, as one of several ranks."""

import os
import pickle
import sys
from pathlib import Path
from threading import Thread

from keyfold.engine.parallel import end_with


def main() -> None:
    """Runs the work. Rank 0 writes the result into the folder."""
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    Thread(target=end_with, args=(parent,), daemon=True).start()
    result = pickle.loads((folder / "work").read_bytes())()  # noqa: S301 - the launcher wrote it into a private folder
    if os.environ["HOROVOD_RANK"] == "0":
        (folder / "result").write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main()
