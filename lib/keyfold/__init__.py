"""keyfold: machine-learning design patterns as conf-driven batch jobs on Spark, in which every row has a key.

    data → split → features → train → score → release → watch

A use case is one YAML file; each of its sections is one module here, and each job runs one section. What must never
drift follows from the key: the fold of a row (`split`), its hashed features (`hashing`, `features`), the model version
that answers (`registry`, `release`), the place of its prediction (`score`, `tables`). A spec is fitted once (`spec`,
`fitting`) and gives the same bits in Spark and in Arrow. `run` keeps account; `cli` is what the jobs call.
"""

import sys
import zipimport
from typing import TYPE_CHECKING

from keyfold.version import __version__

if TYPE_CHECKING:
    from keyfold.serving.pyfunc import ServedModel

if "pyspark.worker" in sys.modules and sys.version_info < (3, 12):
    # Before each task Spark has Python forget what can be imported, and before 3.12 Python then reads all zip files on its path anew,
    # a dozen times: 0.2 s a task (SPARK-54744, gh-103200). In a worker they stay as they are.
    zipimport.zipimporter.invalidate_caches = lambda _: None  # type: ignore[assignment, method-assign]


def load_model(uri: str, trust: str | None = None) -> "ServedModel":
    """A registered model, once all its files are those that were registered; nothing of it is imported or run before.

    `uri`: models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID, in the MLflow that MLFLOW_TRACKING_URI names, or else in keyfold's home.
    `trust`: the digest of a model that keyfold did not train, which runs its code.

    DataError where there is none, PromiseError where a file was changed, added or removed.
    """
    from keyfold.serving import pyfunc

    return pyfunc.load_model(uri, trust)


__all__ = ["__version__", "load_model"]
