"""Layout versions of a conf: each fault of a bridge is a sentence."""

import pytest

from keyfold.conf import yaml
from keyfold.conf.use_case import parse_conf
from keyfold.dataset import imputation
from keyfold.dataset.imputation import MissingColumn
from test_bad_input import refusal
from two_layouts import FROM, OLD, conf


@pytest.mark.parametrize(
    ("where", "way", "sentence"),
    [
        ("age", {"missing": "mean", "constant": 1.0}, "data.versions.0.columns_from.age: must name one of renamed, cast, constant, derived, mapped, missing (got constant and missing)"),
        ("age", {}, "data.versions.0.columns_from.age: must name one of renamed, cast, constant, derived, mapped, missing (got none)"),
        ("y", {"mapped": "kind"}, "data.versions.0.columns_from.y: `mapped` names a column and `values` translates its values; give both, or neither"),
        ("age", {"renamed": "agee"}, "data: versions.0.columns_from: `age` takes `agee`, which `old` lacks"),
        ("agee", {"missing": "mean"}, "data: versions.0.columns_from: the current schema has no column `agee` (did you mean `age`?)"),
        ("card", {"missing": "mean"}, "data: versions.0.columns_from: `card` is string, which has no mean; use most_frequent or distribution"),
        ("id", {"missing": "distribution"}, "data: versions.0.columns_from: `id` is a key, which cannot be imputed"),
        ("y", {"missing": "most_frequent"}, "data.versions: `old` imputes `y`, which is the label; only `missing: null` is possible"),
        ("age", {"constant": "x"}, "data: versions.0.columns_from: `age` is double, but 'x' is not"),
        ("at", {"constant": "soon"}, "data: versions.0.columns_from: `at` is timestamp_ntz, but 'soon' is not"),
        ("amount", {"constant": 2**63}, "data: versions.0.columns_from: `amount` is bigint, but 9223372036854775808 is not"),
        ("amount", {"renamed": "start"}, "data: versions.0.columns_from: `amount` is bigint, to which timestamp_ntz cannot be cast; use derived, or mapped"),
        ("id", {"derived": {"seconds": ["start"]}}, "data: versions.0.columns_from: `id`: seconds takes 2 columns of date, timestamp, timestamp_ntz"),
        ("id", {"derived": {"digset": ["start"]}}, "data.versions.0.columns_from.id.derived: the name 'digset' is none of digest, join, coalesce, seconds or date (did you mean `digest`?)"),
        ("age", {"missing": "men"}, "data.versions.0.columns_from.age.missing must be `mean`, `most_frequent`, `distribution` or `null` (got 'men') (did you mean `mean`?)"),
    ],
)  # fmt: skip
def test_a_bridge_that_cannot_be_is_a_sentence(tmp_path, where, way, sentence):
    made = conf(tmp_path)
    made["data"]["versions"][0]["columns_from"] = FROM | {where: way}
    assert refusal(lambda: parse_conf(made)) == (2, f"the conf has a fault:\n  {sentence}")


def test_a_column_that_no_bridge_gives_is_named_with_what_may(tmp_path):
    made = conf(tmp_path)
    made["data"]["versions"][0] |= {"columns": OLD | {"age": "bigint", "crd": "string"}, "columns_from": {"id": FROM["id"]}}
    code, sentence = refusal(lambda: parse_conf(made))
    assert code == 2
    assert sentence.splitlines()[1:] == [
        "  data: versions.0.columns_from: `old` needs a rule for `at` (timestamp_ntz): renamed, or missing",
        "  data: versions.0.columns_from: `old` needs a rule for `amount` (bigint): {cast: amount}, since it is double",
        "  data: versions.0.columns_from: `old` needs a rule for `card` (string): renamed, or missing (did you mean `crd`?)",
        "  data: versions.0.columns_from: `old` needs a rule for `age` (double): {cast: age}, since it is bigint",
        "  data: versions.0.columns_from: `old` needs a rule for `y` (string): renamed, or missing",
    ]


def test_missing_may_be_nothing_at_all(tmp_path):
    made = conf(tmp_path)
    made["data"]["versions"][0]["columns_from"] = FROM | yaml.parse_yaml("age: {missing: null}")
    found = parse_conf(made)
    assert MissingColumn("age", "null") not in imputation.columns_to_impute(found.data)
    assert parse_conf(yaml.parse_yaml(yaml.dump_yaml(found))) == found
