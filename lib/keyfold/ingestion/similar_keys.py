"""Reports keys that differ only in Unicode form. They are kept distinct, because keys are the client's."""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import partial, reduce

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.names import PERIOD
from keyfold.core.sql import column_reference, text_literal
from keyfold.engine.columns import col, count_rows
from keyfold.engine.frame import Computed, Frame

# Of two different texts with one normal form, at least one has a mark, a Jamo, or a sign with a double elsewhere.
_UNUSUAL = (
    r"[\p{M}\x{1100}-\x{11ff}\x{340}-\x{387}\x{1f71}-\x{1ffd}\x{2000}\x{2001}\x{2126}\x{212a}\x{212b}\x{2329}\x{232a}\x{2adc}"
    r"\x{f900}-\x{fb4e}\x{2f800}-\x{2fa1d}]"
)
UNUSUAL = "keyfold_unusual"
_NORMAL = "keyfold_normal_{}"


def may_be_denormalised(types: Mapping[str, str], key: Sequence[str]) -> Computed:
    """`keyfold_unusual`, whether a row's key may be in another form than NFC."""
    texts = _text_columns(types, key)
    found = (f"coalesce({column_reference(name)} RLIKE {text_literal(_UNUSUAL)}, false)" for name in texts)
    return Computed({UNUSUAL: pa.bool_()}, partial(_are_unusual, texts), [" OR ".join(found) or "false"])


def _are_unusual(texts: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    none = pa.repeat(pa.scalar(False), batch.num_rows)
    found = (pc.match_substring_regex(batch[name], _UNUSUAL).fill_null(False) for name in texts)
    return [reduce(pc.or_, found, none)]


def similar_key_note(rows: Frame, key: Sequence[str]) -> list[str]:
    """A sentence, or none, on keys of one period that are equal in NFC."""
    texts = _text_columns(rows.types, key)
    normal = {name: _NORMAL.format(i) for i, name in enumerate(texts)}
    keys = rows.compute(Computed(dict.fromkeys(normal.values(), pa.string()), partial(_normalise, texts)), [PERIOD, *key])
    alike = [PERIOD, *(normal.get(name, name) for name in key)]
    groups = keys.group(alike, keyfold_n=count_rows()).where(col("keyfold_n") > 1)
    if not (n := groups.count()):
        return []
    first = keys.join(groups, alike, "semi").sort([PERIOD, *key]).head(1).rows()[0]
    example = ", ".join(ascii(first[name]) for name in key)
    return [
        f"{n:,} keys differ from another key only in Unicode form, such as {example} in period {first[PERIOD]}; they are kept distinct"
    ]


def _normalise(texts: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    return [
        pa.array([text and unicodedata.normalize("NFC", text) for text in batch[name].to_pylist()], pa.string()) for name in texts
    ]


def _text_columns(types: Mapping[str, str], key: Sequence[str]) -> list[str]:
    return [name for name in key if types[name] == "string"]
