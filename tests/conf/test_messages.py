"""Every fault of a conf at once: where, what is expected, what was found, and the nearest valid name."""

import pytest

from keyfold import generators
from keyfold.conf import use_case
from keyfold.errors import ConfError
from keyfold.evaluation.metrics import METRICS
from small_conf import faults, raw

GENERATORS = ", ".join(sorted(generators.GENERATORS))


def test_what_json_cannot_hold_is_refused_with_its_path(write):
    text = """
name: n
data: {key: [id], source: a.csv}
label: {column: y, positive: {above: .nan}}
features: {x: {bucketized: {input_col: x, boundaries: [1, .inf]}}}
train: {model: {sklearn: {estimator: sklearn.linear_model.LogisticRegression, params: {C: -.inf, solver: !!binary aGk=}}}}
score: {max_quarantine: !!timestamp 2026-01-01}
"""
    with pytest.raises(ConfError) as caught:
        use_case.load_conf(write(text))
    assert str(caught.value).split("\n  ")[1:] == [
        "label.positive.above must be a finite number (got nan)",
        "features.x.bucketized.boundaries.1 must be a finite number (got inf)",
        "train.model.sklearn.params.C must be a finite number (got -inf)",
        "train.model.sklearn.params.solver must be text, a number, true or false, a list or a mapping (got b'hi'); remove its YAML tag",
        "score.max_quarantine must be text, a number, true or false, a list or a mapping (got datetime.date(2026, 1, 1)); remove its YAML tag",
    ]
    assert faults(raw("data.columns", {"a\udc80": "string"})) == [
        "data.columns: the name 'a\\udc80' has half a character (a lone surrogate); write it whole (got 'a\\udc80')"
    ]
    assert faults(raw("label", "\ud83d")) == ["label has half a character (a lone surrogate); write it whole (got '\\ud83d')"]
    with pytest.raises(ConfError, match=r"--set label has half a character"):
        use_case.load_conf(write("name: n\ndata: {key: [id]}"), ["label=\udc80"])
    with pytest.raises(ConfError, match=r"line 2 is not YAML: found invalid Unicode"):
        use_case.load_conf(write('name: n\ndata: {key: ["\\ud800"]}'))


def test_of_many_faults_the_first_are_shown():
    with pytest.raises(ConfError) as caught:
        use_case.parse_conf(raw("data.columns", dict.fromkeys(map(str, range(1_060)), 1)))
    first, *lines = str(caught.value).split("\n  ")
    assert first == "the conf has 1,060 faults:" and len(lines) == 51 and lines[-1] == "… and 1,010 more"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        # what was got, and what must be there
        ("features.city.hashed.num_buckets", 1, "features.city.hashed.num_buckets must be 2 or more (got 1)"),
        ("features.city.hashed.num_buckets", "many", "features.city.hashed.num_buckets must be a whole number (got 'many')"),
        ("features.city.hashed.num_buckets", 1.5, "features.city.hashed.num_buckets must be a whole number (got 1.5)"),
        ("features.city.hashed.num_buckets", None, "features.city.hashed.num_buckets must be a whole number (got nothing)"),
        ("features.city.hashed.input_col", 3, "features.city.hashed.input_col must be text or a mapping with `feature` (got 3)"),
        ("features.city", "hashed", "features.city must be a mapping with `bucketized`, `crossed`, `date_parts`, `found`, `hashed`, `image`, `index`, `numeric`, `one_hot`, `target_encoded`, `text` or `windowed` (got 'hashed')"),
        ("features", [1], "features must be a mapping (got [1])"),
        ("features", {1: {"one_hot": {"input_col": "a"}}}, "features: the name 1 must be text; quote it"),
        ("data.csv", {None: ["NA"]}, "data.csv: the name None must be text; quote it"),
        ("features.n.numeric", {"input_col": "a", "to": [1]}, "features.n.numeric.to must be a list of 2 (got [1])"),
        ("data.key", [], "data.key must be a list of 1 or more (got [])"),
        ("data.key", "id", "data.key must be a list (got 'id')"),
        ("data.key", [1], "data.key.0 must be text (got 1)"),
        ("data.key", ["id", "id"], "data.key: `id` appears twice"),
        ("data.source", 5, "data.source must be text or a mapping with `generator` (got 5)"),
        ("label.positive", [1], "label.positive must be text, a whole number, true or false or a mapping with `above` (got [1])"),
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
        ("data.time", True, "data.time must be text (got true)"),
        ("train.rebalance", {"weights": {"a": "x"}}, "train.rebalance.weights.a must be a number (got 'x')"),
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
         f"data.source: there is no generator `shp`; there are {GENERATORS} (did you mean `shop`?)"),
        ("data.source", {"generator": ["shop"]}, f"data.source: `generator` must name one; there are {GENERATORS}"),
        ("data.source", {"rows": 3}, f"data.source: `generator` must name one; there are {GENERATORS}"),
        ("data.source", {"generator": "clicks", "end": "2026-02-30"}, "data.source.end: day is out of range for month"),
        ("data.period", "moth", "data.period must be `all`, `year`, `month`, `day` or a mapping with `from` or `pattern` (got 'moth') (did you mean `month`?)"),
        ("features.n.numeric", {"input_col": "a", "missing": "men"},
         "features.n.numeric.missing must be `mean`, `error` or a number (got 'men') (did you mean `mean`?)"),
        ("release.promote_if", {"roc": {"at_least": 1}},
         f"release.promote_if: the name 'roc' is none of {', '.join([*METRICS][:-1])} or {[*METRICS][-1]} "
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
        ("features.city", {}, "features.city: must name one of bucketized, crossed, date_parts, found, hashed, image, index, numeric, one_hot, target_encoded, text, windowed (got none)"),
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


def test_all_faults_come_at_once():
    conf = raw("features.n.numeric", {"scale": "big"}) | {"nme": "x"}
    del conf["name"]
    conf["data"]["key"] = []
    assert faults(conf) == [
        "name is missing",
        "data.key must be a list of 1 or more (got [])",
        "features.n.numeric.input_col is missing",
        "features.n.numeric.scale must be `none`, `standard`, `minmax` or `robust` (got 'big')",
        "nme is not an option (did you mean `name`?)",
    ]


def test_what_was_got_is_cut_short():
    (line,) = faults(raw("data.time", ["x" * 1_000] * 1_000))
    assert len(line) < 500
