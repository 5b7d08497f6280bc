"""The folder of keyfold's state: tables, reports and MLflow's database."""

import os
from pathlib import Path


def home() -> Path:
    """Where state lives: $KEYFOLD_HOME, or .keyfold in the current folder."""
    return Path(os.environ.get("KEYFOLD_HOME", ".keyfold")).absolute()
