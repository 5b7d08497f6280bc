"""Text as values of a type: what a type cannot hold is told."""

import pyarrow as pa

from keyfold.conf.data import Data
from keyfold.conf.versions import LayoutVersion
from keyfold.core.names import REASON
from keyfold.ingestion import sources
from keyfold.ingestion.bridges import Bridge
from source_rows import cells


def test_text_that_a_type_cannot_hold_whole_is_told(embedded, tmp_path):
    """At the door, and where an older layout has the same text."""
    finer, offset = "has nanoseconds, and a time holds microseconds", "has an offset, and timestamp_ntz has none"
    moment, wall = {
        "2026-07-01T10:00:00.1234567Z": finer, "2026-07-01 10:00:00.123456000Z": None, "2026-07-01T10:00:00.000000001+02:00": finer,
        "2026-07-01 10:00:00.123456789": finer, "2026-07-01 10:00:00.5Z": None, "x": "is not timestamp",
    }, {
        "2026-07-01T10:00:00.1234567": finer, "2026-07-01 10:00:00.1234560": None, "2026-07-01T10:00:00Z": offset,
        "2026-07-01 10:00:00+02:00": offset, "2026-07-01 10:00:00 Europe/Berlin": offset, "x": "is not timestamp_ntz",
        "2026-07-01 10:00": None, "2026-07-01": None,
    }  # fmt: skip
    numbers = {"1e-400": "is not double", "-0.0e-999": None, "1e400": "is not double", "5e-324": None, "0": None, "-.00": None}
    not_decimal = "is not decimal(10,2)"
    decimals = {
        "1e-40": not_decimal, "1.005": not_decimal, "1.00000000000000000000001e1": not_decimal, "1.2345e1": not_decimal, "1.50e-1": None,
        "1.2345e2": None, "0E-18": None, "1.500": None, "1e7": None, "1e8": not_decimal, "1e99999999999": not_decimal, "-12.5E+1": None,
    }  # fmt: skip
    all_ = {"timestamp": moment, "timestamp_ntz": wall, "double": numbers, "decimal(10,2)": decimals}
    for type_, cases in all_.items():
        path = tmp_path / f"{type_}.csv"
        path.write_text("\n".join(["v", *cases, ""]))
        rows = cells(sources.read_source(embedded, str(path), {"v": type_}, None, zone="UTC"), "v", REASON)
        told = {text: f"`v` {reason}" if reason else None for text, reason in cases.items()}
        assert dict(zip(cases, [reason for _, reason in rows], strict=True)) == told
        assert [value is None for value, _ in rows] == [reason is not None for reason in cases.values()]
        version = LayoutVersion(name="old", columns={"v": "string"}, columns_from={"v": {"renamed": "v"}})
        bridge = Bridge.to_current(Data.model_validate({"key": ["v"], "columns": {"v": type_}, "zone": "UTC"}), version)
        old = bridge.column(pa.record_batch({"v": pa.array([*cases])}), "v")
        assert old.value.to_pylist() == [value for value, _ in rows]
        assert old.reason.is_null().to_pylist() == [reason is None for _, reason in rows]
