"""Labels of several labels: training beside scikit-learn's OneVsRestClassifier on the same matrix, and scoring of many classes.

The matrix has the counts of 40 words of 20,000 per row, with TF-IDF weights. Each label depends on some words, and most labels are rare. Scoring
predicts 100 classes, and two, from the same six numbers, on the embedded engine: the job `score`, with its checks and its commit.
"""

import json
import tempfile
import time
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from common import arguments, machine, run_cases

WORDS, PER_ROW, CLASSES = 20_000, 40, 100
NAMES = [f"x{i}" for i in range(6)]


def matrix(rows: int, seed: int = 0) -> Any:
    """Texts as a matrix (rows, WORDS), each row with the Euclidean norm 1."""
    from sklearn.feature_extraction.text import TfidfTransformer

    rng = np.random.default_rng(seed)
    shares = np.cumsum(1 / (5 + np.arange(WORDS)))
    words = np.searchsorted(shares / shares[-1], rng.random(rows * PER_ROW)).clip(max=WORDS - 1)
    starts = np.arange(rows + 1) * PER_ROW
    return TfidfTransformer().fit_transform(sparse.csr_matrix((np.ones(len(words)), words, starts), (rows, WORDS)))


def labels(texts: Any, k: int) -> Any:
    """Whether each row has each of k labels, a sparse matrix: 5 % of the rows have the first, and one in 4,000 the last."""
    rng = np.random.default_rng(1)
    columns = []
    for code in range(k):
        chosen = rng.integers(20, WORDS // 20, 12)
        scores = np.asarray(texts[:, chosen].sum(axis=1)).ravel() + 0.15 * rng.logistic(size=texts.shape[0])
        columns.append(sparse.csc_array((scores > np.quantile(scores, 1 - 0.05 / (1 + 200 * code / k)))[:, None]))
    return sparse.hstack(columns, "csr")


def train(rows: int, k: int, repeats: int, *, peers: bool) -> list[Any]:
    """Fits k logistic regressions."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from threadpoolctl import threadpool_limits

    from keyfold.models.several_labels import fit_labels

    texts = matrix(rows)
    y = labels(texts, k)

    def alone() -> None:
        with threadpool_limits(1):
            OneVsRestClassifier(LogisticRegression()).fit(texts, y)

    cases = {"keyfold": lambda: fit_labels(LogisticRegression(), texts, y, {})}
    if peers:
        cases |= {
            "OneVsRestClassifier": lambda: OneVsRestClassifier(LogisticRegression()).fit(texts, y),
            "OneVsRestClassifier, n_jobs=2": lambda: OneVsRestClassifier(LogisticRegression(), n_jobs=2).fit(texts, y),
            "OneVsRestClassifier, one BLAS thread": alone,
        }
    return run_cases(
        f"Training of {k:,} labels over {rows:,} texts", cases, None, "OneVsRestClassifier" if peers else None, repeats, 0, rows
    )


def run_of(kind: str, rows: int) -> Any:
    """A run over rows with six numbers, whose label has two or many classes; a model is trained on some of them."""
    from keyfold.conf.use_case import parse_conf
    from keyfold.core.names import PERIOD
    from keyfold.engine import engine
    from keyfold.runtime.run import Run

    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=rows) for name in NAMES}
    code = (np.argsort(np.argsort(x["x0"] + 2 * rng.normal(size=rows))) * CLASSES // rows).astype(np.int64)
    y = np.char.add("class ", (code if kind == "classes" else code % 2).astype(str))
    sklearn = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 20}}
    conf = {
        "name": kind, "data": {"key": ["id"], "period": "month", "time": "seen"}, "label": "y" if kind == "classes" else {"column": "y", "positive": "class 1"},
        "features": {name: {"numeric": {"input_col": name, "scale": "standard"}} for name in NAMES}, "train": {"model": {"sklearn": sklearn}},
    }  # fmt: skip
    run = Run(parse_conf(conf), engine.embedded(), "2026-02")
    days = {"2026-01": min(rows, 20_000), "2026-02": rows}
    for period, n in days.items():
        seen = pa.array(np.full(n, np.datetime64(f"{period}-01", "us")), pa.timestamp("us", "UTC"))
        table = pa.table(
            {"id": range(n), **{name: values[:n] for name, values in x.items()}, "y": y[:n], "seen": seen, PERIOD: [period] * n}
        )
        run.rows.replace(run.engine.frame(table), PERIOD, {period: n})
    return run


def score(rows: int, repeats: int) -> list[Any]:
    """The job `score` of two classes, and of many."""
    from keyfold.scoring.job import score as score_job
    from keyfold.training.job import train as train_job

    def timed(kind: str) -> float:
        run = run_of(kind, rows)
        version = train_job(run)
        start = time.perf_counter()
        score_job(run, version)
        return time.perf_counter() - start

    cases = {
        name: (lambda kind=kind: timed(kind)) for name, kind in (("two classes", "binary"), (f"{CLASSES} classes", "classes"))
    }
    return run_cases(f"Scoring of {rows:,} rows", cases, "two classes", None, repeats, 0, rows)


def main() -> None:
    """Runs the parts that are named by --parts (default: both)."""
    parser = arguments(__doc__, rows=20_000)
    parser.add_argument("--labels", type=int, default=1_000)
    parser.add_argument("--score-rows", type=int, default=200_000)
    parser.add_argument("--parts", nargs="+", default=["train", "score"], choices=["train", "score"])
    parser.add_argument("--alone", action="store_true", help="without scikit-learn's classifier, which takes long for many rows")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    if "train" in options.parts:
        results["train"] = train(options.rows, options.labels, options.repeats, peers=not options.alone)
    if "score" in options.parts:
        import os

        with tempfile.TemporaryDirectory() as folder:
            os.environ["KEYFOLD_HOME"] = folder
            results["score"] = score(options.score_rows, options.repeats)
    if options.json:
        options.json.write_text(json.dumps(machine() | results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
