"""Reports keys that differ only in Unicode form. They are kept distinct, because keys are the client's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keyfold.core.sql import col
from keyfold.engine import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Of two different texts with one normal form, at least one has a mark, a Jamo, or a sign with a double elsewhere.
_UNUSUAL = r"[\p{M}\u1100-\u11ff\u0340-\u0387\u1f71-\u1ffd\u2000\u2001\u2126\u212a\u212b\u2329\u232a\u2adc\uf900-\ufb4e]|[\x{2f800}-\x{2fa1d}]"


def may_be_denormalised(rows: "DataFrame", key: Sequence[str]) -> "Column":
    """Whether a row's key may be in another form than NFC."""
    unusual = F.lit(False)
    for name in _text_columns(rows, key):
        unusual = unusual | F.coalesce(col(name).rlike(_UNUSUAL), F.lit(False))
    return unusual


def similar_key_note(rows: "DataFrame", period: str, key: Sequence[str]) -> list[str]:
    """A sentence, or none, on keys of one period that are equal in NFC."""
    from pyspark.sql.pandas.functions import pandas_udf

    texts = _text_columns(rows, key)
    normal = pandas_udf(lambda values: values.str.normalize("NFC"), "string")  # type: ignore[call-overload]
    normalised = [(normal(col(k)) if k in texts else col(k)).alias(f"keyfold_{i}") for i, k in enumerate(key)]
    keys = rows.select(col(period).alias("period"), *normalised, F.struct(*map(col, key)).alias("key"))
    groups = keys.groupBy("period", *(f"keyfold_{i}" for i in range(len(key)))).agg(
        F.count("*").alias("n"), F.min("key").alias("key")
    )
    similar = groups.where("n > 1").agg(F.count("*").alias("n"), F.min(F.struct("period", "key")).alias("first")).collect()[0]
    if not similar.n:
        return []
    example = ", ".join(ascii(value) for value in similar.first.key)
    others = f"{similar.n:,} keys differ from another key only in Unicode form"
    return [f"{others}, such as {example} in period {similar.first.period}; they are kept distinct"]


def _text_columns(rows: "DataFrame", key: Sequence[str]) -> list[str]:
    return [k for k in key if rows.schema[k].dataType.typeName() == "string"]
