"""The column `reasons`: the strongest features of each key's answer, in the table and in a served model; none for quarantined rows."""

import pyarrow as pa
import pytest

import keyfold as kf
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from small_conf import faults, raw


def conf(estimator="linear_model.LogisticRegression", y="y", **options):
    return parse_conf(
        {
            "name": "shop",
            "label": y,
            "data": {"table": "shop.rows", "key": ["id"]},
            "split": {"allow": ["x"]},
            "features": {"x": {"numeric": {"input_col": "x"}}, "c": {"one_hot": {"input_col": "c", "handle_unseen": "error"}}},
            "train": {"model": {"sklearn": {"estimator": f"sklearn.{estimator}"}}},
            **options,
        }
    )


def rows(engine, n=400):
    ids = range(n)
    columns = {"x": [i % 17 - 8.0 for i in ids], "c": [f"c{i % 3}" for i in ids], "y": [i % 17 > 8 for i in ids]}
    table = pa.table(
        {"id": [*ids, n], **{name: [*values, values[0]] for name, values in columns.items()}, "k": [i % 3 for i in range(n + 1)]}
    )
    unseen = pa.table({"id": [n + 1], "x": [1.0], "c": ["new"], "y": pa.nulls(1, pa.bool_()), "k": pa.nulls(1, pa.int64())})
    run = Run(conf(), engine)
    if not run.rows.exists():
        run.rows.append(engine.frame(pa.concat_tables([table, unseen])))


def test_reasons_of_the_table_are_those_of_the_served_model(embedded, home):
    rows(embedded)
    run = Run(conf(score={"reasons": 1}), embedded)
    version = train(run)
    score(run, version)
    found = run.predictions.frame().to_arrow().sort_by("id")
    assert found.schema.field("reasons").type == pa.list_(pa.struct([("feature", pa.string()), ("contribution", pa.float64())]))
    assert (
        found["reasons"].null_count == 1
        and found["status"].to_pylist()[-1] == "quarantined"
        and found["reasons"][-1].as_py() is None
    )
    served = kf.load_model(f"models:/shop/{version.version}")
    given = run.rows.frame().to_arrow().sort_by("id").slice(0, 401)
    assert served.predict(given, reasons=1)["reasons"].to_pylist() == found["reasons"].to_pylist()[:-1]
    assert "reasons" not in served.predict(given).column_names
    assert {len(one) for one in served.predict(given.to_pandas(), reasons=5)["reasons"]} == {2}
    with pytest.raises(DataError, match=r"other .score.reasons.; name another table in score.into"):
        score(Run(conf(), embedded), version)


def test_whether_there_are_reasons_counts_for_the_training_but_not_how_many(embedded, home):
    rows(embedded)
    plain = train(Run(conf(), embedded))
    with pytest.raises(DataError, match=r"trained without .score.reasons."):
        score(Run(conf(score={"reasons": 1}), embedded), plain)
    three, four = (train(Run(conf(score={"reasons": many}), embedded)) for many in (3, 4))
    assert plain.version != three.version == four.version


def test_labels_of_more_than_one_number_have_no_reasons(embedded, home):
    rows(embedded)
    with pytest.raises(ConfError, match="of kind classes; leave it out"):
        train(Run(conf(y="k", score={"reasons": 1}), embedded))


@pytest.mark.parametrize("label", [{"column": "y", "bands": [1, 2]}, {"columns": ["a", "b"]}, {"column": "y", "separator": ","}])
def test_labels_of_several_answers_are_refused(label):
    assert faults(raw("score.reasons", 3) | {"label": label}) == [
        "score.reasons explains one number, or the probability of one of two classes, and this label has several answers; leave it out"
    ]


def test_networks_are_refused():
    network = {"model": {"torch": {"network": {"wide_deep": {"embedding": 2, "hidden": [2]}}}}}
    assert [line.partition(" is for")[0] for line in faults(raw("score.reasons", 3) | {"train": network})] == ["score.reasons"]
