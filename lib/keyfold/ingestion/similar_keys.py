"""Keys of content, and keys that look alike: equal once Unicode is normalised. They are told, never merged: keys are the client's.

A content key is `<digest of the raw row>-<number among its copies>`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keyfold.core.sql import col
from keyfold.engine import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Of two different texts with one normal form, one at least has a mark, a Jamo, or a sign with a double elsewhere.
_UNUSUAL = r"[\p{M}\u1100-\u11ff\u0340-\u0387\u1f71-\u1ffd\u2000\u2001\u2126\u212a\u212b\u2329\u232a\u2adc\uf900-\ufb4e]|[\x{2f800}-\x{2fa1d}]"


def may_be_denormalised(rows: "DataFrame", key: Sequence[str]) -> "Column":
    """Whether a row's key may be in another form than NFC."""
    found = F.lit(False)
    for name in _texts(rows, key):
        found = found | F.coalesce(col(name).rlike(_UNUSUAL), F.lit(False))
    return found


def similar_key_note(rows: "DataFrame", period: str, key: Sequence[str]) -> list[str]:
    """A sentence on the keys of one period that are equal in NFC, or none."""
    from pyspark.sql.pandas.functions import pandas_udf

    texts = _texts(rows, key)
    normal = pandas_udf(lambda values: values.str.normalize("NFC"), "string")  # type: ignore[call-overload]
    by = [normal(col(k)).alias(f"keyfold_{i}") if k in texts else col(k).alias(f"keyfold_{i}") for i, k in enumerate(key)]
    some = rows.select(col(period).alias("period"), *by, F.struct(*map(col, key)).alias("key"))
    groups = some.groupBy("period", *(f"keyfold_{i}" for i in range(len(key)))).agg(
        F.count("*").alias("n"), F.min("key").alias("key")
    )
    found = groups.where("n > 1").agg(F.count("*").alias("n"), F.min(F.struct("period", "key")).alias("first")).collect()[0]
    if not found.n:
        return []
    example = ", ".join(ascii(value) for value in found.first.key)
    told = f"such as {example} in period {found.first.period}"
    return [f"{found.n:,} keys have a double that differs only in its Unicode form, {told}; they stay apart"]


def _texts(rows: "DataFrame", key: Sequence[str]) -> list[str]:
    return [k for k in key if rows.schema[k].dataType.typeName() == "string"]
