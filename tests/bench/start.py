"""Start, first Delta write and first read, by spark-submit.sh and by spark-submit.

The peer is the command of Delta's guide: spark-submit --packages with its two settings. The floor is a session without Delta.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def job(how: str, rows: int) -> None:
    """The job of each case; `how` is the way in which the session is created."""
    if how == "keyfold":
        from keyfold.engine.session import session

        spark = session("start")
    else:
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        table = f"{folder}/table"
        form = "parquet" if how == "floor" else "delta"
        spark.range(rows).write.format(form).save(table)
        assert spark.read.format(form).load(table).count() == rows


def submit(command: list[str], how: str, rows: int) -> None:
    """Runs the job as a user does; exits if it fails."""
    done = subprocess.run([*command, "job", how, str(rows)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")


def main() -> None:
    """Runs the cases in turns. Nothing else should run on the machine."""
    from common import arguments, run_cases
    from keyfold.engine.session import delta_package

    options = arguments(__doc__, rows=1000).parse_args()
    spark_submit = f"{os.environ['SPARK_HOME']}/bin/spark-submit"
    settings = [word for key, value in DELTA.items() for word in ("--conf", f"{key}={value}")]
    jars = ",".join((ROOT / ".venv" / "delta-jars").read_text("utf-8").split())
    cases = {
        "spark-submit, without Delta": ([spark_submit, __file__], "floor"),
        "spark-submit --packages": ([spark_submit, "--packages", delta_package(), *settings, __file__], "plain"),
        "spark-submit --jars": ([spark_submit, "--jars", jars, *settings, __file__], "plain"),
        "spark-submit.sh": ([str(ROOT / "spark-submit.sh"), __file__], "keyfold"),
    }
    run_cases(
        "Start, first Delta write and read",
        {case: lambda command=command, how=how: submit(command, how, options.rows) for case, (command, how) in cases.items()},
        floor="spark-submit, without Delta",
        peer="spark-submit --packages",
        repeats=options.repeats,
        rows=options.rows,
        file=options.json,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["job"]:
        job(sys.argv[2], int(sys.argv[3]))
    else:
        main()
