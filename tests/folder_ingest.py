"""Ingests a folder of CSV files that a test changes."""

from keyfold.conf.use_case import parse_conf
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run

FILES = {"a": ["1,2026-01-05", "2,2026-01-06"], "b": ["3,2026-02-05"], "c": ["4,2026-02-06"]}
WINDOW = {"sum": {"windowed": {"input_col": "id", "by": [], "over": "all", "take": "sum"}}}


def folder_ingest(engine, folder):
    """A function that writes CSV files, ingests their folder and returns the run; None removes a file."""

    def ingested(features=None, **files):
        (folder / "in").mkdir(exist_ok=True)
        for name, lines in files.items():
            path = folder / "in" / f"{name}.csv"
            path.unlink() if lines is None else path.write_text("\n".join(["id,day", *lines, ""]))
        data = {"source": str(folder / "in"), "columns": {"id": "bigint", "day": "date"}, "key": ["id"], "max_quarantine": 1}
        conf = parse_conf({"name": "t", "data": data | {"time": "day", "period": "month"}, "features": features or {}})
        run = Run(conf, engine)
        ingest(run)
        return run

    return ingested


def kept(run):
    """The id and the period of each row, sorted."""
    return sorted((row["id"], row["keyfold_period"]) for row in run.rows.frame().rows())
