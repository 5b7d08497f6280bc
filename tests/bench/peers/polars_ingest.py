"""A CSV file to a Delta table by hand with Polars and deltalake.

Usage: polars_ingest.py CSV FOLDER. It leaves out what `ingest` does besides: quarantine, checks of types and keys, periods that can be
read again, and re-runs that change nothing.
"""

import sys
from pathlib import Path

import polars as pl
from deltalake import write_deltalake

if __name__ == "__main__":
    rows = pl.read_csv(sys.argv[1], try_parse_dates=True, infer_schema_length=10_000)
    write_deltalake(str(Path(sys.argv[2]).absolute() / "rows"), rows.to_arrow(), mode="overwrite")
    print(f"{rows.height} rows")
