"""Confs: YAML within limits, overrides typed as the file is, every fault at once and as a sentence, the JSON Schema."""

import json
import subprocess
import sys
from functools import reduce

import jsonschema
import pytest

from keyfold.conf import use_case, yaml
from keyfold.errors import ConfError
from places import ROOT

CHURN = ROOT / "conf" / "churn.yaml"


def raw(path="", value=None):
    """A small conf, with one value put in at a path."""
    made = {
        "name": "churn",
        "data": {"source": "customers.csv", "key": ["id"], "label": "left"},
        "features": {"city": {"hashed": {"input_col": "city", "num_buckets": 16}}},
        "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
    }
    if path:
        *parents, last = path.split(".")
        reduce(lambda at, part: at.setdefault(part, {}), parents, made)[last] = value
    return made


def faults(made):
    with pytest.raises(ConfError) as caught:
        use_case.parse_conf(made, "mine.yaml")
    assert caught.value.exit_code == 2
    first, *lines = str(caught.value).split("\n")
    assert first == f"mine.yaml has {'a fault' if len(lines) == 1 else f'{len(lines)} faults'}:"
    return [line.strip() for line in lines]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


# --- YAML ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Yes", "Yes"), ("no", "no"), ("on", "on"), ("true", True), ("False", False),
        ("1e-3", 0.001), (".5", 0.5), ("-1.", -1.0), ("12", 12), ("-0", 0), ("1.0", 1.0),
        ("2026-10", "2026-10"), ("2026-10-31", "2026-10-31"), ("12:30:00", "12:30:00"), ("007", "007"), ("0x10", "0x10"),
        ("~", None), ("null", None), ("", None), ('"1"', "1"), ("{a: [1, x]}", {"a": [1, "x"]}),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    parsed = yaml.parse_yaml(text)
    assert parsed == value
    assert type(parsed) is type(value)


BOMB = "a: &a [x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: !!python/object:os.system x", "line 1 is not YAML: could not determine a constructor for the tag"),
        ("a: 1\nb: 2\na: 3", "is not YAML: `a` appears twice"),
        ("a: {b: 1, c: 2, b: 3}", "`b` appears twice"),
        ("a: b: c", "line 1 is not YAML"),
        ("a:\n\t- b", "line 2 is not YAML: found character"),
        ("a\0", "is not YAML: unacceptable character"),
        ("--- a\n--- b", "another document"),
        ("[" * 10_000, "is nested too deep"),
        ("x: &x 1\ny: [" + "*x, " * 101 + "]", "more than 100 aliases"),
        (BOMB, "more than 20,000 values"),
        ("a: &a [*a]", "more than 20,000 values"),
        ("a: !!int x", "is not YAML: invalid literal"),
        ("a: !!bool maybe", "is not YAML"),
        ("9" * 5_000, "is not YAML"),
        ("? [a]\n: 1", "unhashable key"),
        ("a: '" + "x" * 1_000_000 + "'", "a conf may have 1,000,000 at most"),
        (b"name: caf\xe9", "is not UTF-8 (byte 9); save it as UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_conf_is_refused_with_its_place(write, text, sentence):
    path = write(text)
    with pytest.raises(ConfError) as caught:
        use_case.load_conf(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("text", ["[{}]".format("a, " * 100_000), "{{{}}}".format("".join(f"a{i}: b, " for i in range(50_000)))])
def test_a_conf_of_too_many_values_is_refused_before_they_are_made(text, monkeypatch):
    monkeypatch.setattr(yaml, "_Loader", None)
    with pytest.raises(ConfError, match=r"the text is not YAML: it has more than 20,000 values"):
        yaml.parse_yaml(text)


def test_what_json_cannot_hold_is_refused_with_its_path(write):
    text = """
name: n
data: {key: [id], source: a.csv, positive: {above: .nan}}
features: {x: {bucketized: {input_col: x, boundaries: [1, .inf]}}}
train: {model: {sklearn: {estimator: sklearn.linear_model.LogisticRegression, params: {C: -.inf, solver: !!binary aGk=}}}}
score: {max_quarantine: !!timestamp 2026-01-01}
"""
    with pytest.raises(ConfError) as caught:
        use_case.load_conf(write(text))
    assert str(caught.value).split("\n  ")[1:] == [
        "data.positive.above must be a finite number (got nan)",
        "features.x.bucketized.boundaries.1 must be a finite number (got inf)",
        "train.model.sklearn.params.C must be a finite number (got -inf)",
        "train.model.sklearn.params.solver must be text, a number, true or false, a list or a mapping (got b'hi'); remove its YAML tag",
        "score.max_quarantine must be text, a number, true or false, a list or a mapping (got datetime.date(2026, 1, 1)); remove its YAML tag",
    ]
    assert faults(raw("data.columns", {"a\udc80": "string"})) == [
        "data.columns: the name 'a\\udc80' has half a character (a lone surrogate); write it whole (got 'a\\udc80')"
    ]
    assert faults(raw("data.label", "\ud83d")) == [
        "data.label has half a character (a lone surrogate); write it whole (got '\\ud83d')"
    ]
    with pytest.raises(ConfError, match=r"--set data\.label has half a character"):
        use_case.load_conf(write("name: n\ndata: {key: [id]}"), ["data.label=\udc80"])
    with pytest.raises(ConfError, match=r"line 2 is not YAML: found invalid Unicode"):
        use_case.load_conf(write('name: n\ndata: {key: ["\\ud800"]}'))


def test_of_many_faults_the_first_are_shown():
    with pytest.raises(ConfError) as caught:
        use_case.parse_conf(raw("data.columns", dict.fromkeys(map(str, range(1_060)), 1)))
    first, *said = str(caught.value).split("\n  ")
    assert first == "the conf has 1,060 faults:" and len(said) == 51 and said[-1] == "… and 1,010 more"


def test_a_missing_conf_names_the_nearest(write):
    path = write("")
    with pytest.raises(ConfError, match=r"there is no conf `.*mime\.yaml` \(did you mean `mine\.yaml`\?\)"):
        use_case.load_conf(path.with_name("mime.yaml"))


@pytest.mark.parametrize(("text", "got"), [("", "nothing"), ("- a", "['a']"), ("churn", "'churn'")])
@pytest.mark.parametrize("overrides", [[], ["name=x"]])
def test_a_conf_is_a_mapping(write, text, got, overrides):
    with pytest.raises(ConfError) as caught:
        use_case.load_conf(write(text), overrides)
    assert str(caught.value).endswith(f"must be a mapping with `name:` and `data:` (got {got})")


# --- overrides ---


def test_overrides_are_typed_as_the_file_is():
    loaded = use_case.load_conf(
        CHURN,
        [
            "data.source.customers=300",
            "split.salt=Yes",
            "split.share={train: 0.5, validation: 0.2, test: 0.3}",
            "train.model.sklearn.params.C=1e-3",
            "features.extra.one_hot.input_col=city",
            "data.positive=false",
            "report.truth=",
            "data.csv.delimiter==",
        ],
    )
    assert loaded.data.source.customers == 300
    assert loaded.split.salt == "Yes"
    assert loaded.split.share.test == 0.3
    assert loaded.train.model.sklearn.params == {"max_iter": 1000, "C": 0.001}
    assert loaded.features["extra"].kind.input_col == "city"
    assert loaded.data.positive is False
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


# --- faults ---


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        # what was got, and what must be there
        ("features.city.hashed.num_buckets", 1, "features.city.hashed.num_buckets must be 2 or more (got 1)"),
        ("features.city.hashed.num_buckets", "many", "features.city.hashed.num_buckets must be a whole number (got 'many')"),
        ("features.city.hashed.num_buckets", 1.5, "features.city.hashed.num_buckets must be a whole number (got 1.5)"),
        ("features.city.hashed.num_buckets", None, "features.city.hashed.num_buckets must be a whole number (got nothing)"),
        ("features.city.hashed.input_col", 3, "features.city.hashed.input_col must be text or a mapping with `feature` (got 3)"),
        ("features.city", "hashed", "features.city must be a mapping with `bucketized`, `crossed`, `date_parts`, `hashed`, `image`, `index`, `numeric`, `one_hot`, `target_encoded`, `text` or `windowed` (got 'hashed')"),
        ("features", [1], "features must be a mapping (got [1])"),
        ("features", {1: {"one_hot": {"input_col": "a"}}}, "features: the name 1 must be text; quote it"),
        ("data.csv", {None: ["NA"]}, "data.csv: the name None must be text; quote it"),
        ("features.n.numeric", {"input_col": "a", "to": [1]}, "features.n.numeric.to must be a list of 2 (got [1])"),
        ("data.key", [], "data.key must be a list of 1 or more (got [])"),
        ("data.key", "id", "data.key must be a list (got 'id')"),
        ("data.key", [1], "data.key.0 must be text (got 1)"),
        ("data.key", ["id", "id"], "data.key: `id` appears twice"),
        ("data.source", 5, "data.source must be text or a mapping with `generator` (got 5)"),
        ("data.positive", [1], "data.positive must be text, a whole number, true or false or a mapping with `above` (got [1])"),
        ("data.csv", {"quote": "xx"}, "data.csv.quote must be text of at most 1 character(s) (got 'xx')"),
        ("data.csv", {"delimiter": ""}, "data.csv.delimiter must be text of at least 1 character(s) (got '')"),
        ("data.table", "a b", "data.table must be like `crm.customers` (got 'a b')"),
        ("name", "1x", "name must be like `churn` (got '1x')"),
        ("score", {"model": "churn"},
         "score.model must be like `models:/churn@champion`, `models:/churn/3` or `runs:/0123abcd` (got 'churn')"),
        ("score", {"actions": {"call": {"top": 0.1, "over": 0.5}}}, "score.actions.call: must name one of top, over, budget (got top and over)"),
        ("score", {"keep": "latest"}, "score.keep: latest needs data.time, the column with the date or time of each row"),
        ("score", {"actions": {"to call": {"top": 0.1}}}, "score: the action `to call` names a table; use letters, digits and _"),
        ("split.share.train", 2, "split.share.train must be 1 or less (got 2)"),
        ("train.memory_share", 0, "train.memory_share must be more than 0 (got 0)"),
        ("data.label", True, "data.label must be text (got true)"),
        ("train.class_weight", {"a": "x"}, "train.class_weight.a must be a number (got 'x')"),
        ("report.slices", "city", "report.slices must be a list (got 'city')"),
        ("release.promote_if", {"roc_auc": 0.7},
         "release.promote_if.roc_auc must be a mapping with `at_least`, `at_most`, `better_than`, `interval` or `min_rows` (got 0.7)"),
        # the nearest right name
        ("data.sorce", "x", "data.sorce is not an option (did you mean `source`?)"),
        ("dta", {}, "dta is not an option (did you mean `data`?)"),
        ("features.city.hash", {}, "features.city.hash is not an option (did you mean `hashed`?)"),
        ("features.city.hashed.num_bucket", 1, "features.city.hashed.num_bucket is not an option (did you mean `num_buckets`?)"),
        ("features.x.hashed", {"input_col": {"feature": "a", "featur": "a"}, "num_buckets": 4},
         "features.x.hashed.input_col.featur is not an option (did you mean `feature`?)"),
        ("data.source", {"generator": "telecom", "custmers": 3}, "data.source.custmers is not an option (did you mean `customers`?)"),
        ("data.source", {"generator": "shop", "customers": 3}, "data.source.customers is not an option"),
        ("data.source", {"generator": "shp"},
         "data.source: there is no generator `shp`; there are telecom, clicks, shop, retail, prices, ticks (did you mean `shop`?)"),
        ("data.source", {"generator": ["shop"]}, "data.source: `generator` must name one; there are telecom, clicks, shop, retail, prices, ticks"),
        ("data.source", {"rows": 3}, "data.source: `generator` must name one; there are telecom, clicks, shop, retail, prices, ticks"),
        ("data.source", {"generator": "clicks", "end": "2026-02-30"}, "data.source.end: day is out of range for month"),
        ("data.period", "moth", "data.period must be `all`, `year`, `month`, `day` or a mapping with `from` or `pattern` (got 'moth') (did you mean `month`?)"),
        ("features.n.numeric", {"input_col": "a", "missing": "men"},
         "features.n.numeric.missing must be `mean`, `error` or a number (got 'men') (did you mean `mean`?)"),
        ("release.promote_if", {"roc": {"at_least": 1}},
         "release.promote_if: the name 'roc' is none of roc_auc, pr_auc, log_loss, brier, lift_top_decile, rmse, mae or r2 "
         "(did you mean `roc_auc`?)"),
        ("data.columns", {"a": "strng"},
         "data.columns: `a` has the type `strng`, which is none of string, bigint, int, double, boolean, date, timestamp, "
         "timestamp_ntz, decimal(10,2) (did you mean `string`?)"),
        ("features.x.crossed", {"input_cols": ["a", {"feature": "cty"}], "num_buckets": 4},
         "features.x takes the feature `cty`, which does not exist (did you mean `city`?)"),
        ("train.model.sklearn.estimator", "sklearn.linear_model.LogisticRegresion",
         "train.model.sklearn: there is no estimator `sklearn.linear_model.LogisticRegresion` (did you mean `sklearn.linear_model.LogisticRegression`?)"),
        ("train.model.sklearn.params", {"max_itr": 3},
         "train.model.sklearn: sklearn.linear_model.LogisticRegression has no parameter `max_itr` (did you mean `max_iter`?)"),
        # what does not go together
        ("data.period", "month", "data: period `month` needs `time`, the column with the date or time of each row"),
        ("split.share", {"train": 0.9}, "split.share: train, validation and test must sum to 1 (got 1.1)"),
        ("features.city", {}, "features.city: must name one of bucketized, crossed, date_parts, hashed, image, index, numeric, one_hot, target_encoded, text, windowed (got none)"),
        ("features.x.crossed", {"input_cols": ["a", {"feature": "x"}], "num_buckets": 4}, "features.x takes itself: x → x"),
        ("report.without", [["cty"]], "report.without.0: there is no feature `cty` (did you mean `city`?)"),
        ("report.without", [[]], "report.without.0 must be a list of 1 or more (got [])"),
        ("report.without", ["city"], "report.without.0 must be a list (got 'city')"),
        ("report.without", [["city"]], "report.without.0: no feature would be left"),
        ("features.n.numeric", {"input_col": "a", "to": [2, 1]},
         "features.n.numeric.to: must be [low, high] with low below high (got [2.0, 1.0])"),
        ("train.model.sklearn.estimator", "GradientBoostingClassifier",
         "train.model.sklearn: estimator `GradientBoostingClassifier` must be named in full: sklearn.ensemble.GradientBoostingClassifier"),
        ("train.model.sklearn.estimator", "os.system", "train.model.sklearn: estimator `os.system` must come from sklearn"),
        ("data.csv", {"encoding": "klingon"},
         "data.csv.encoding: must be an encoding that Python knows, such as utf-8 or windows-1252 (got `klingon`)"),
        ("data.csv", {"quote": ";", "delimiter": ";"},
         "data.csv: delimiter, quote and escape must differ; without `escape`, a quote is escaped by doubling it"),
        ("data.csv", {"decimal": ",", "thousands": ","}, "data.csv: decimal and thousands must differ"),
        ("data.columns", {"a": "date(dd.MM)"}, "data.columns: `a` has the type `date(dd.MM)`, whose format must be like date(dd.MM.yyyy)"),
        ("data.columns", {"a": {"from": "b", "type": "date"}, "b": "date"}, "data.columns: `a` and `b` are both from `b`"),
        ("data.columns", {"a": {"from": "A", "type": "dat"}},
         "data.columns.a.type: has the type `dat`, which is none of string, bigint, int, double, boolean, date, timestamp, "
         "timestamp_ntz, decimal(10,2) (did you mean `date`?)"),
    ],
)  # fmt: skip
def test_a_fault_is_one_sentence(path, value, sentence):
    assert faults(raw(path, value)) == [sentence]


def test_a_feature_that_another_takes_is_left_out_with_it_or_not_at_all():
    made = raw("features.x.crossed", {"input_cols": ["a", {"feature": "city"}], "num_buckets": 4})
    made |= {"report": {"without": [["city"]]}}
    made["features"]["n"] = {"numeric": {"input_col": "n"}}
    assert faults(made) == ["report.without.0: feature `x` takes `city`; leave out both, or neither"]
    use_case.parse_conf(made | {"report": {"without": [["city", "x"]]}})


def test_all_faults_come_at_once():
    made = raw("features.n.numeric", {"scale": "big"}) | {"nme": "x"}
    del made["name"]
    made["data"]["key"] = []
    assert faults(made) == [
        "name is missing",
        "data.key must be a list of 1 or more (got [])",
        "features.n.numeric.input_col is missing",
        "features.n.numeric.scale must be `none`, `standard`, `minmax` or `robust` (got 'big')",
        "nme is not an option (did you mean `name`?)",
    ]


def test_what_was_got_is_cut_short():
    (line,) = faults(raw("data.label", ["x" * 1_000] * 1_000))
    assert len(line) < 500


def test_encodings_have_the_names_that_python_gives_them():
    assert use_case.parse_conf(raw("data.csv", {"encoding": "Latin-1"})).data.csv.encoding == "iso-8859-1"


# --- what leaves ---


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
        "data": {"key": ["id", "day"], "time": "day", "label": "y"},
        "split": {"allow": ["y"]},
        "features": {"f": feature},
    }
    if not refused:
        assert use_case.parse_conf(raw)
        return
    with pytest.raises(ConfError, match=r"features.f takes `y`, which is data.label, the column to predict; take it out"):
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
