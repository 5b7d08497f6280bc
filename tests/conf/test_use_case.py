"""Confs: overrides typed like the file, sections that must fit together, the JSON Schema, and a dumped conf."""

import json
import subprocess
import sys

import jsonschema
import pytest

from keyfold.conf import use_case, yaml
from keyfold.errors import ConfError
from places import ROOT
from small_conf import raw

CHURN = ROOT / "conf" / "churn.yaml"


@pytest.mark.parametrize(("text", "got"), [("", "nothing"), ("- a", "['a']"), ("churn", "'churn'")])
@pytest.mark.parametrize("overrides", [[], ["name=x"]])
def test_a_conf_is_a_mapping(write, text, got, overrides):
    with pytest.raises(ConfError) as caught:
        use_case.load_conf(write(text), overrides)
    assert str(caught.value).endswith(f"must be a mapping with `name:` and `data:` (got {got})")


def test_overrides_are_typed_as_the_file_is():
    loaded = use_case.load_conf(
        CHURN,
        [
            "data.source.customers=300",
            "split.salt=Yes",
            "split.share={train: 0.5, validation: 0.2, test: 0.3}",
            "train.model.sklearn.params.C=1e-3",
            "features.extra.one_hot.input_col=city",
            "label.positive=false",
            "report.truth=",
            "data.csv.delimiter==",
        ],
    )
    assert loaded.data.source.customers == 300
    assert loaded.split.salt == "Yes"
    assert loaded.split.share.test == 0.3
    assert loaded.train.model.sklearn.params == {"max_iter": 1000, "C": 0.001}
    assert loaded.features["extra"].kind.input_col == "city"
    assert loaded.label.positive is False
    assert loaded.report.truth is None
    assert loaded.data.csv.delimiter == "="


@pytest.mark.parametrize("override", ["name", "=x", ""])
def test_an_override_has_a_path_and_a_value(override):
    with pytest.raises(ConfError, match=r"--set takes path\.to\.option=value \(got `.*`\)"):
        use_case.load_conf(CHURN, [override])


def test_an_override_is_checked_as_the_file_is():
    with pytest.raises(ConfError, match=r"features\.city\.hashed\.num_bucket is not an option \(did you mean `num_buckets`\?\)"):
        use_case.load_conf(CHURN, ["features.city.hashed.num_bucket=8"])
    with pytest.raises(ConfError, match=r"--set name, line 1 is not YAML"):
        use_case.load_conf(CHURN, ["name=[a"])


def test_encodings_have_the_names_that_python_gives_them():
    assert use_case.parse_conf(raw("data.csv", {"encoding": "Latin-1"})).data.csv.encoding == "iso-8859-1"


def test_the_schema_describes_the_confs_and_their_faults():
    done = subprocess.run([sys.executable, ROOT / "jobs" / "schema.py"], capture_output=True, text=True, check=True)
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.read_yaml(CHURN), schema)
    jsonschema.validate(raw(), schema)
    for path, value in [("sorce", "x"), ("features.city.hashed.num_buckets", 1), ("data.period", "week"), ("data.key", [])]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(raw(path, value), schema)


def test_a_dumped_conf_is_the_same_conf(write):
    loaded = use_case.load_conf(CHURN)
    again = use_case.load_conf(write(yaml.dump_yaml(loaded)))
    assert again == loaded
    assert again.digest == loaded.digest
    assert use_case.load_conf(CHURN, ["split.salt=other"]).digest != loaded.digest


def test_a_feature_without_options_is_a_sentence():
    for kind in ("numeric", "hashed", "windowed"):
        with pytest.raises(ConfError, match=f"features.a: {kind} must have a value \\(got nothing\\)"):
            use_case.parse_conf({"name": "t", "data": {"key": ["id"]}, "features": {"a": {kind: None}}})


@pytest.mark.parametrize(
    ("feature", "refused"),
    [
        ({"numeric": {"input_col": "y"}}, True),
        ({"numeric": {"input_col": {"log": "y"}}}, True),
        ({"crossed": {"input_cols": ["a", "y"], "num_buckets": 9}}, True),
        ({"windowed": {"input_col": "y", "over": "3 rows", "take": "mean", "current": True}}, True),
        ({"windowed": {"input_col": "y", "over": "3 rows", "take": "mean"}}, False),
        ({"numeric": {"input_col": "a"}}, False),
    ],
)
def test_the_label_is_no_feature(feature, refused):
    raw = {
        "name": "x",
        "label": "y",
        "data": {"key": ["id", "day"], "time": "day"},
        "split": {"allow": ["y"]},
        "features": {"f": feature},
    }
    if not refused:
        assert use_case.parse_conf(raw)
        return
    with pytest.raises(ConfError, match=r"features.f takes `y`, which is the label, the column to predict; take it out"):
        use_case.parse_conf(raw)


def test_a_key_has_no_name_of_a_column_beside_it():
    learnt = {"train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}}}
    drawn = {"images": {"input_col": "photo", "operations": [{"thumbnail": 64}]}}
    for key, more, table in (("Status", learnt, "predictions"), ("path", drawn, "images")):
        with pytest.raises(ConfError) as error:
            use_case.parse_conf({"name": "x", "data": {"key": ["id", key]}} | more)
        other = f"data.columns: {{{key}_: {{from: {key}, type: string}}}}"
        said = f"data.key: `{key}` is a column that keyfold adds to the table of {table}; rename yours, as in {other}"
        assert str(error.value) == f"the conf has a fault:\n  {said}"
        assert use_case.parse_conf({"name": "x", "data": {"key": ["id", key]}}), "for other jobs it is a name like others"
