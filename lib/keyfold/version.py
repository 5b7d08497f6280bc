"""The release of keyfold that is installed."""

from importlib import metadata

try:
    __version__ = metadata.version("keyfold")
except metadata.PackageNotFoundError:  # on the path as files (--py-files), not installed
    __version__ = "0.2.0"
