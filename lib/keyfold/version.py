"""The release of keyfold that is installed."""

from importlib import metadata

try:
    __version__ = metadata.version("keyfold")
except metadata.PackageNotFoundError:  # put on the path as files, by --py-files
    __version__ = "0.1.0"
