"""Churn by hand with PySpark, MLlib, Delta and MLflow, as a data engineer would write it: CSV to committed predictions.

Usage: pyspark_by_hand.py CSV FOLDER, by spark-submit with Delta's package. Prints the ROC AUC on the test fold as JSON. It leaves out
the same as polars_by_hand.py.
"""

import json
import sys
from pathlib import Path

import mlflow
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import FeatureHasher, Imputer, OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

KEY, TIME, LABEL = "customer_id", "month", "left_next_month"
NUMBERS = [
    "tenure_days", "monthly_charge", "calls", "data_gb", "usage_change", "complaints", "support_calls", "late_payments",
]  # fmt: skip
WORDS = ["contract", "plan", "age_group", "payment_method"]


def pipeline() -> Pipeline:
    """Scaled numbers, one-hot words, hashed city and plan by city, a logistic regression."""
    imputed = [f"{c}_imputed" for c in NUMBERS]
    return Pipeline(
        stages=[
            Imputer(inputCols=NUMBERS, outputCols=imputed),
            VectorAssembler(inputCols=imputed, outputCol="numbers"),
            StandardScaler(inputCol="numbers", outputCol="scaled", withMean=True),
            StringIndexer(inputCols=WORDS, outputCols=[f"{c}_index" for c in WORDS], handleInvalid="keep"),
            OneHotEncoder(inputCols=[f"{c}_index" for c in WORDS], outputCols=[f"{c}_hot" for c in WORDS]),
            FeatureHasher(inputCols=["city"], outputCol="city_hashed", numFeatures=1024),
            FeatureHasher(inputCols=["plan_city"], outputCol="plan_city_hashed", numFeatures=4096),
            VectorAssembler(
                inputCols=["scaled", *(f"{c}_hot" for c in WORDS), "city_hashed", "plan_city_hashed"], outputCol="features"
            ),
            LogisticRegression(labelCol=LABEL, featuresCol="features", maxIter=100),
        ]
    )


def ingest(spark: SparkSession, file: str, folder: Path) -> DataFrame:
    """The rows in a Delta table, with the fold of each customer."""
    rows = spark.read.csv(file, header=True, inferSchema=True).withColumn("plan_city", F.concat_ws("|", "plan", "city"))
    numbers = {c: F.col(c).cast("double") for c in NUMBERS} | {LABEL: F.col(LABEL).cast("int")}
    rows.withColumns(numbers | {"fold": F.pmod(F.xxhash64(KEY), F.lit(10))}).write.format("delta").mode("overwrite").save(
        str(folder / "rows")
    )
    return spark.read.format("delta").load(str(folder / "rows"))


def main(file: str, folder: Path) -> None:
    """Trains on the labelled months and scores the last one."""
    spark = SparkSession.builder.appName("by hand").getOrCreate()
    rows = ingest(spark, file, folder)
    labelled = rows.where(F.col(LABEL).isNotNull())
    model = pipeline().fit(labelled.where("fold > 1").cache())
    auc = BinaryClassificationEvaluator(labelCol=LABEL).evaluate(model.transform(labelled.where("fold = 0")))
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.create_experiment("churn", artifact_location=(folder / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name("churn").experiment_id):
        mlflow.log_metric("roc_auc", auc)
        mlflow.spark.log_model(model, "model", registered_model_name="churn", dfs_tmpdir=str(folder / "tmp"))
    last = rows.where(F.col(TIME) == rows.agg(F.max(TIME)).collect()[0][0])
    probability = vector_to_array("probability")[1]
    predictions = model.transform(last).select(KEY, TIME, "prediction", probability.alias("probability"))
    predictions.withColumn("model_version", F.lit(1)).write.format("delta").mode("overwrite").save(str(folder / "predictions"))
    print(json.dumps({"roc_auc": auc, "predictions": spark.read.format("delta").load(str(folder / "predictions")).count()}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute())
