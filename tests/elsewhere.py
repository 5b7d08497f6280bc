"""Fits and transforms in a session of its own: python elsewhere.py MASTER FOLDER; MASTER `connect` is a Spark Connect server."""

import json
import sys
from pathlib import Path

from pyarrow import feather
from pyspark.sql import SparkSession

from keyfold.features.fitting import Target
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec


def main(master, folder):
    builder = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").config("spark.sql.shuffle.partitions", "3")
    spark = (builder.remote("local[2]") if master == "connect" else builder.master(master)).getOrCreate()
    assert ("connect" in type(spark).__module__) == (master == "connect")
    rows = spark.read.parquet(str(folder / "rows.parquet"))
    features, *target = json.loads((folder / "features.json").read_text())
    features = {name: Feature.model_validate(raw) for name, raw in features.items()}
    spec = Spec.fit(rows.repartition(3), features, Target(*target))
    (folder / f"{master}.json").write_text(spec.to_json(), "utf-8")
    feather.write_feather(spec.transform(rows.coalesce(1), ["i"]).toArrow(), str(folder / f"{master}.arrow"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
