"""Churn by hand with Polars, scikit-learn, deltalake and MLflow, as a data scientist would write it: CSV to committed predictions.

Usage: polars_by_hand.py CSV FOLDER. Prints the ROC AUC on the test fold as JSON. It leaves out what keyfold does besides: quarantine,
checks of types, keys and folds, intervals of the metrics, a certificate of parity, the report, and re-runs that change nothing.
"""

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
from deltalake import write_deltalake
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

KEY, TIME, LABEL = "customer_id", "month", "left_next_month"
NUMBERS = [
    "tenure_days", "monthly_charge", "calls", "data_gb", "usage_change", "complaints", "support_calls", "late_payments",
]  # fmt: skip
WORDS = ["contract", "plan", "age_group", "payment_method"]


def read(file: str) -> pl.DataFrame:
    """The rows, typed, with the fold of each customer."""
    rows = pl.read_csv(file, try_parse_dates=True, infer_schema_length=10_000)
    place = pl.col(KEY).hash(seed=0) % 10
    return rows.with_columns(fold=pl.when(place == 0).then(0).when(place == 1).then(1).otherwise(2))


def matrix(rows: pl.DataFrame, means: dict[str, float], deviations: dict[str, float], words: OneHotEncoder) -> sparse.csr_matrix:
    """Scaled numbers, one-hot words, hashed city and plan by city."""
    numbers = rows.select((pl.col(c).fill_null(means[c]) - means[c]) / deviations[c] for c in NUMBERS).to_numpy()
    n = rows.height

    def hashed(value: pl.Expr, buckets: int) -> sparse.csr_matrix:
        index = rows.select(value.hash(seed=1) % buckets).to_series().to_numpy().astype(np.int64)
        return sparse.csr_matrix((np.ones(n), (np.arange(n), index)), shape=(n, buckets))

    city, plan_city = hashed(pl.col("city"), 1024), hashed(pl.concat_str("plan", "city", separator="|"), 4096)
    return sparse.hstack([numbers, words.transform(rows.select(WORDS).to_numpy()), city, plan_city], format="csr")


def main(file: str, folder: Path) -> None:
    """Trains on the labelled months and scores the last one."""
    rows = read(file)
    labelled, last = rows.filter(pl.col(LABEL).is_not_null()), rows.filter(pl.col(TIME) == pl.col(TIME).max())
    train, test = labelled.filter(pl.col("fold") == 2), labelled.filter(pl.col("fold") == 0)
    means = dict(zip(NUMBERS, train.select(pl.col(NUMBERS).mean()).row(0), strict=True))
    deviations = dict(zip(NUMBERS, train.select(pl.col(NUMBERS).std(ddof=0)).row(0), strict=True))
    words = OneHotEncoder(handle_unknown="ignore").fit(train.select(WORDS).to_numpy())
    model = LogisticRegression(max_iter=1000).fit(matrix(train, means, deviations, words), train[LABEL].to_numpy())
    auc = roc_auc_score(test[LABEL].to_numpy(), model.predict_proba(matrix(test, means, deviations, words))[:, 1])
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.create_experiment("churn", artifact_location=(folder / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name("churn").experiment_id):
        mlflow.log_metric("roc_auc", auc)
        mlflow.sklearn.log_model(model, name="model", registered_model_name="churn")
    probability = model.predict_proba(matrix(last, means, deviations, words))[:, 1]
    predictions = last.select(KEY, TIME).with_columns(
        prediction=pl.Series(probability >= 0.5), probability=pl.Series(probability), model_version=pl.lit(1)
    )
    write_deltalake(str(folder / "predictions"), predictions.to_arrow(), mode="overwrite")
    print(json.dumps({"roc_auc": auc, "predictions": predictions.height}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute())
