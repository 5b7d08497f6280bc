"""Registered models in Python and behind MLflow; registered models name this package as their loader."""

from keyfold.serving.pyfunc import ServedModel, _load_pyfunc, load_model

__all__ = ["ServedModel", "_load_pyfunc", "load_model"]
