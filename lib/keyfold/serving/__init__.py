"""A model that answers rows by the same code as the batch job."""

from keyfold.serving.pyfunc import ServedModel, _load_pyfunc, load_model

__all__ = ["ServedModel", "_load_pyfunc", "load_model"]
