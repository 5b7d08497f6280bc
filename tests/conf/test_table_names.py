"""Names of tables: no two uses share one, within a conf and across confs."""

import pytest

from keyfold.conf import table_names
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD, RUN
from keyfold.engine.columns import lit
from keyfold.engine.tables import PURPOSE
from keyfold.errors import ConfError, DataError
from keyfold.runtime.run import Run


def conf(name="churn", **sections):
    return {"name": name, "data": {"key": ["id"]}, **sections}


def table(name):
    return {"data": {"key": ["id"], "table": name}}


def actions(*some, **score):
    return {"score": {"actions": {name: {"top": 0.1} for name in some}} | score}


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (actions("predictions"), "score.actions.predictions: `churn.predictions` would be the table of predictions and of the action `predictions`"),
        (actions("rows"), "score.actions.rows: `churn.rows` would be the table of rows and of the action `rows`"),
        (actions("Quarantine"), "score.actions.Quarantine: `churn.Quarantine` would be the table of quarantine and of the action `Quarantine`"),
        (actions("customers", into="crm.scores") | table("crm.customers"), "score.actions.customers: `crm.customers` would be the table of rows and"),
        (actions(into="crm.customers") | table("crm.customers"), "score.into: `crm.customers` would be the table of rows and of predictions"),
        (actions(into="churn.features"), "score.into: `churn.features` would be the table of features and of predictions"),
        (actions(into="spark_catalog.churn.rows"), "score.into: `spark_catalog.churn.rows` would be the table of rows and of predictions"),
        (actions(into="churn.rows") | table("crm.customers"), "score.into: `churn.rows` would be the table of rows and of predictions"),
        (actions(into="crm.quarantine") | table("crm.customers"), "score.into: `crm.quarantine` would be the table of quarantine and of predictions"),
        (table("churn.embeddings"), "data.table: `churn.embeddings` would be the table of embeddings and of rows"),
        (table("crm.quarantine"), "data.table: `crm.quarantine` would be the table of rows and of quarantine"),
        (table("keyfold.runs"), "data.table: schema `keyfold` is reserved for keyfold's own tables; choose another"),
        (actions(into="main.Keyfold.scores"), "score.into: schema `keyfold` is reserved for keyfold's own tables; choose another"),
        ({"images": {"input_col": "picture", "into": "churn.predictions"}}, "images.into: `churn.predictions` would be the table of predictions and"),
        ({"name": "Keyfold"}, "name: `keyfold` is reserved for keyfold's own tables; choose another"),
    ],
)  # fmt: skip
def test_two_uses_of_one_name_are_refused_by_the_check(sections, sentence):
    with pytest.raises(ConfError) as caught:
        parse_conf(conf() | sections)
    assert str(caught.value).split("\n  ")[1].startswith(sentence) and str(caught.value).count("\n") == 1


def test_other_names_may_be_alike():
    parse_conf(conf() | table("crm.predictions") | actions("call", "write", into="ml.rows"))
    assert table_names.table_use(parse_conf(conf() | table("main.crm.customers")), "features").name == "main.churn.features"


def test_a_table_knows_what_it_is_for_and_refuses_another_use(engine, home):
    first = Run(parse_conf(conf() | actions("call", into="ml.scores")), engine)
    second = Run(parse_conf(conf("risk") | actions("scores", into="ml.risk")), engine)
    scores = engine.rows([(i, "all", 0.5) for i in range(4)], "id bigint, period string, probability double")
    first.predictions.replace(scores, "period", {"all": 4}, job="score")
    assert first.predictions.properties()[PURPOSE] == "predictions of churn"
    first.predictions.replace(scores, "period", {"all": 4}, job="score")
    sentence = r"table `ml\.scores` is for predictions of churn, and not for action scores of risk; choose another name \(score\.actions\.scores\)"
    with pytest.raises(DataError, match=sentence):
        second.used("action scores").claim()
    with pytest.raises(DataError, match=sentence):
        second.used("action scores").replace(scores.head(1), "period", {"all": 1}, job="action")
    third = Run(parse_conf(conf("other") | actions(into="ml.scores")), engine)
    with pytest.raises(DataError, match=r"is for predictions of churn, and not for predictions of other; .* \(score\.into\)"):
        third.predictions.append(scores)
    assert first.predictions.frame().count() == 4 and first.predictions.version().version == 2


def test_a_table_without_a_purpose_takes_the_first_that_fits(engine, home):
    run = Run(parse_conf(conf() | actions("call")), engine)
    scores = engine.rows([(i, "all", 0.5) for i in range(4)], "id bigint, period string, probability double")
    run.table("churn.call").replace(scores, "period", {"all": 4})
    assert PURPOSE not in run.table("churn.call").properties()
    with pytest.raises(DataError, match=r"has other columns than a table of action call of churn; choose another name"):
        run.used("action call").replace(scores.drop("probability"), "period", {"all": 4})
    run.used("action call").replace(scores, "period", {"all": 4})
    assert run.table("churn.call").properties()[PURPOSE] == "action call of churn"
    rows = engine.rows([(i, "all", "r") for i in range(2)], f"id bigint, {PERIOD} string, {RUN} string")
    run.table("churn.features").replace(rows, PERIOD, {"all": 2})
    wider = rows.with_columns({"mean": lit(1)})
    run.used("features").replace(wider, PERIOD, {"all": 2}, schema=True)
    assert run.used("features").properties()[PURPOSE] == "features of churn"
