"""keyfold: batch machine learning on Spark from one YAML file, in which every row has a key.

    import keyfold as kf

    conf = kf.load("conf/churn.yaml")
    run = kf.Run(conf)  # or kf.Run(conf, kf.session()), kf.Run(conf, kf.embedded())
    kf.ingest(run)
    version = kf.promote(run, kf.train(run))
    kf.score(run, version)
    predictions = kf.read_predictions(run)

Names are imported on first use, so `import keyfold` is quick and starts nothing. The jobs write one row each to the ledger
`keyfold.runs` when the run is closed (`run.close()`), and one HTML page (`run.write_report()`).
"""

import sys
import zipimport
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf
    from keyfold.conf.use_case import load_conf as load
    from keyfold.conf.use_case import parse_conf as parse
    from keyfold.dataset.fit_features import fit_features
    from keyfold.dataset.labelled_rows import folds_of
    from keyfold.engine.engine import embedded
    from keyfold.engine.session import session
    from keyfold.errors import ConfError, DataError, KeyfoldError, PromiseError
    from keyfold.feature_store.point_in_time import ViewRows, training_set
    from keyfold.feature_store.table import update_feature_table
    from keyfold.features.spec import Spec
    from keyfold.ingestion.job import ingest
    from keyfold.jobs.embeddings import write_embeddings
    from keyfold.jobs.images import make_images
    from keyfold.runtime.run import Run
    from keyfold.scoring.job import score
    from keyfold.scoring.predictions import read_predictions
    from keyfold.serving.pyfunc import ServedModel, load_model
    from keyfold.training.job import train
    from keyfold.training.promotion import promote_or_keep as promote
    from keyfold.version import __version__
    from keyfold.windows.series import States

__all__ = [
    "Conf", "ConfError", "DataError", "KeyfoldError", "PromiseError", "Run", "ServedModel", "Spec", "States", "ViewRows",
    "__version__", "embedded", "fit_features", "folds_of", "ingest", "load", "load_model", "make_images", "parse", "promote",
    "read_predictions", "score", "session", "train", "training_set", "update_feature_table", "write_embeddings",
]  # fmt: skip

# Where each public name is defined: module, and the name there if it is another one.
_DEFINED_IN = {
    "__version__": "version",
    "Conf": "conf.use_case",
    "ConfError": "errors",
    "DataError": "errors",
    "KeyfoldError": "errors",
    "PromiseError": "errors",
    "Run": "runtime.run",
    "ServedModel": "serving.pyfunc",
    "Spec": "features.spec",
    "States": "windows.series",
    "ViewRows": "feature_store.point_in_time",
    "embedded": "engine.engine",
    "fit_features": "dataset.fit_features",
    "folds_of": "dataset.labelled_rows",
    "ingest": "ingestion.job",
    "load": "conf.use_case:load_conf",
    "load_model": "serving.pyfunc",
    "make_images": "jobs.images",
    "parse": "conf.use_case:parse_conf",
    "promote": "training.promotion:promote_or_keep",
    "read_predictions": "scoring.predictions",
    "score": "scoring.job",
    "session": "engine.session",
    "train": "training.job",
    "training_set": "feature_store.point_in_time",
    "update_feature_table": "feature_store.table",
    "write_embeddings": "jobs.embeddings",
}

if "pyspark.worker" in sys.modules and sys.version_info < (3, 12):
    # Before each task Spark invalidates Python's import caches, and Python before 3.12 then reads all zip files on its path anew,
    # a dozen times: 0.2 s a task (SPARK-54744, gh-103200). Workers keep these caches.
    zipimport.zipimporter.invalidate_caches = lambda _: None  # type: ignore[assignment, method-assign]


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module `keyfold` has no attribute `{name}`")
    module, _, original = _DEFINED_IN[name].partition(":")
    globals()[name] = value = getattr(import_module(f"keyfold.{module}"), original or name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
