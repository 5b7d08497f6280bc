"""Actions: how many keys they take, by which probability, and CSV files without formulas."""

import csv
import re

import pyarrow as pa
import pytest

from keyfold.conf.score import Action
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError
from keyfold.labels import Binary, Multilabel, Number
from keyfold.runtime.run import Run
from keyfold.scoring.actions import check_actions, write_actions, write_csv
from keyfold.scoring.outcomes import Outcomes


def test_a_spreadsheet_sees_no_formula(tmp_path):
    formulas = [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\tx",
        "\rx",
        "\nx",
        "\n=1",
        " =1",
        "\ufeff=1",
        "\u200b+1",
        "\u3000@x",
        "\uff1d1+1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
        "'=1",
        "'",
    ]
    plain = ["a=1", "é", "a\n=1", "", " ", "\u200b"]
    write_csv(pa.table({"=k": [*formulas, *plain, None], "n": [-1] * (len(formulas) + len(plain) + 1)}), tmp_path / "a.csv")
    lines = list(csv.reader((tmp_path / "a.csv").open(encoding="utf-8", newline="")))
    assert [line[0] for line in lines] == ["'=k", *(f"'{text}" for text in formulas), *plain, ""]
    assert {line[1] for line in lines[1:]} == {"-1"}
    assert [line[0].removeprefix("'") for line in lines[1:-1]] == [*formulas, *plain], "each value can be had back"


# --- of a class ---

MAPS = [{"a": 0.7, "b": 0.3}, {"a": 0.2, "b": 0.8}, {"a": 0.5, "b": 0.5}, None, {"a": 0.4, "b": 0.6}]


def run_of(engine, maps=True, **actions):
    run = Run(parse_conf({"name": "news", "data": {"key": ["id"]}, "score": {"actions": actions}}), engine)
    if not run.predictions.exists():
        columns = {
            "id": pa.array(range(len(MAPS))),
            "period": pa.array(["1"] * len(MAPS)),
            "status": ["scored" if one else "quarantined" for one in MAPS],
        }
        columns |= {
            "reason": pa.nulls(len(MAPS), pa.string()),
            "prediction": [None if one is None else [name for name in one if one[name] > 0.4] for one in MAPS],
        }
        columns |= {"probability": pa.array([None if one is None else max(one.values()) for one in MAPS], pa.float64())}
        columns |= {"model_version": pa.array([1] * len(MAPS), pa.int32())}
        if maps:
            columns["probabilities"] = pa.array(
                [None if one is None else [*one.items()] for one in MAPS], pa.map_(pa.string(), pa.float64())
            )
        run.predictions.replace(engine.frame(pa.table(columns)), "period", {"1": len(MAPS)})
    return run


def written(run):
    return write_actions(run, "0" * 32, "1", Outcomes.of(run.predictions, "1", len(MAPS)))


@pytest.mark.both_engines
def test_keys_are_chosen_by_the_probability_of_a_class(engine, home):
    run = run_of(engine, first={"top": 0.5, "of": "b"}, sure={"over": 0.55, "of": "b"}, paid={"budget": 3, "of": "a"})
    section = written(run)
    chosen = {name: run.table(f"news.{name}").frame().sort(["id"]).to_arrow() for name in run.conf.score.actions}
    assert {name: rows["id"].to_pylist() for name, rows in chosen.items()} == {"first": [1, 4], "sure": [1, 4], "paid": [0, 2, 4]}
    assert chosen["first"]["probability"].to_pylist() == [0.8, 0.6]
    lines = list(csv.DictReader((home / "reports" / ("0" * 32) / "paid.csv").open(encoding="utf-8")))
    assert [line["prediction"] for line in lines] == ["a", "a, b", "b"] and [line["probability"] for line in lines] == [
        "0.7",
        "0.5",
        "0.4",
    ]
    assert "the 50% with the highest probability of b" in section.html
    assert f'<td class="n">{0.7 / 0.55:.3f}</td>' in section.html, "the mean of b is 0.55"


def test_a_class_is_named_for_several_and_not_for_two(embedded, home, monkeypatch, tmp_path):
    kinds = {
        "several": Multilabel("string", ("a", "b"), (0.5, 0.5)),
        "two": Binary("string", "a", "b"),
        "number": Number("double"),
    }
    none, of, unknown = ({"call": Action(top=0.1, of=name)} for name in (None, "b", "c"))
    check_actions(of, kinds["several"])
    check_actions(none, kinds["two"])
    for actions, label, sentence in [
        (none, "several", "score.actions.call: this model gives the probabilities of several classes; name one, such as"),
        (unknown, "several", "score.actions.call.of: the model knows no class `c`"),
        (of, "two", "score.actions.call.of names one of several classes, and this model gives the probability of one of two; leave it out"),
        (none, "number", "this model predicts a number; leave them out"),
    ]:  # fmt: skip
        with pytest.raises(ConfError, match=re.escape(sentence)):
            check_actions(actions, kinds[label])
    with pytest.raises(ConfError, match="the model knows no class `c`"):  # rows that were scored before
        written(run_of(embedded, call={"top": 0.5, "of": "c"}))
    with pytest.raises(ConfError, match="name one, such as"):
        written(run_of(embedded, call={"top": 0.5}))
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path / "two"))
    with pytest.raises(ConfError, match="of one of two"):
        written(run_of(embedded, maps=False, call={"top": 0.5, "of": "b"}))
