"""Packages that are installed, and those that only some confs need."""

import importlib.util
from functools import cache
from importlib import metadata

from keyfold.errors import ConfError


@cache
def installed_release(package: str) -> str | None:
    """The release of an installed package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def require_package(option: str, package: str, how: str) -> None:
    """Raises ConfError if an option's package is not installed; `how`: the argument of `setup` and its effect."""
    if not importlib.util.find_spec(package):
        raise ConfError(f"{option} needs the package {package}: ./spark-submit.sh setup {how}")
