"""Verdicts on columns that arrive in another layout than was declared."""

import pytest

from keyfold.conf import yaml
from keyfold.conf.use_case import parse_conf
from keyfold.ingestion import drift
from keyfold.ingestion.drift import ArrivedColumn

TABLE = {"id": "bigint", "start time": "timestamp", "n": "bigint", "x": "double", "d": "decimal(10,2)", "t": "string"}


def came(drop=(), **types):
    columns = {name: type_ for name, type_ in (TABLE | types).items() if name not in drop}
    return [ArrivedColumn(name, type_) for name, type_ in columns.items()]


def named(**names):
    return [ArrivedColumn(names.get(c.replace(" ", "_"), c)) for c in TABLE]


@pytest.mark.parametrize(
    ("columns", "kind", "verdict", "said"),
    [
        (came(new="string"), "unexpected", "bridge", "`new` is new"),
        (came(drop=["t"]), "lost", "bridge", "`t` is gone"),
        (came(drop=["start time"], start_time="timestamp"), "renamed", "bridge", "`start time` is gone, and `start_time` looks like it"),
        (came(n="string"), "another type", "bridge", "`n` is string, and was bigint"),
        (came(n="date"), "another kind of type", "refuse", "`n` is date, and was bigint, and neither can be cast to the other"),
        (came(t="array<string>"), "another kind of type", "refuse", "`t` is array<string>, and was string; split it into columns before the ingest"),
        (came(n="int"), "narrower number", "accept", "`n` is int, and was bigint, which holds all of it"),
        (came(x="float"), "narrower number", "accept", "`x` is float, and was double, which holds all of it"),
        (came(d="decimal(8,2)"), "narrower number", "accept", "`d` is decimal(8,2), and was decimal(10,2), which holds all of it"),
        (came(d="decimal(12,2)"), "wider number", "bridge", "`d` is decimal(12,2), and was decimal(10,2)"),
        (came()[::-1], "other order", "accept", "the columns are in another order"),
        (named(n="N"), "changed case", "accept", "`n` is written `N`"),
        (named(id="\ufeffid"), "byte order mark", "accept", "a byte order mark precedes `id`"),
        (named(t=" t "), "blanks around the name", "accept", "`t` has blanks around it"),
        ([*named(), ArrivedColumn("n")], "duplicate name", "refuse", "`n` occurs more than once, ignoring case and blanks"),
        ([*named(), ArrivedColumn("T")], "duplicate name", "refuse", "`t` occurs more than once, ignoring case and blanks"),
        ([*named(), ArrivedColumn("T")], "duplicate name", "refuse", "`T` occurs more than once, ignoring case and blanks"),
        ([*named(), ArrivedColumn(" ")], "no name", "refuse", "column 7 has no name"),
        ([*named(), ArrivedColumn("is_bridged")], "reserved name", "refuse", "`is_bridged` is reserved for keyfold"),
    ],
)  # fmt: skip
def test_each_drift_has_its_verdict(columns, kind, verdict, said):
    found = drift.compare_layouts(TABLE, columns).verdicts
    assert (kind, verdict, said) in [tuple(v) for v in found]
    assert {v.kind for v in found} <= {kind, "reserved name", "unexpected", "duplicate name"}


def test_nested_and_nullable_columns_have_their_verdicts():
    nested = drift.compare_layouts({"s": "struct<a:int>"}, [ArrivedColumn("s", "struct<a:int,b:int>")]).verdicts
    assert [(v.kind, v.verdict) for v in nested] == [("nested fields", "refuse")]
    nullable = drift.compare_layouts({"n": "bigint"}, [ArrivedColumn("n", "bigint", nullable=True)], required=["n"]).verdicts
    assert [(v.kind, v.verdict) for v in nullable] == [("may be NULL", "accept")]
    assert drift.compare_layouts(TABLE, came()).verdicts == []


def test_the_stub_is_a_conf_that_holds(tmp_path):
    new = {"id": "bigint", "start_time": "timestamp", "n": "string", "x": "double", "d": "decimal(10,2)", "card": "string"}
    pasted = yaml.parse_yaml(drift.version_stub(TABLE, new, "old*.csv", ["id"]))
    made = parse_conf({"name": "x", "data": pasted["data"] | {"source": str(tmp_path), "key": ["id"]}})
    ways = {name: way.describe() for name, way in made.data.versions[0].columns_from.items()}
    assert ways == {"start_time": "`start time`", "n": "`n`", "card": "missing: distribution"}
