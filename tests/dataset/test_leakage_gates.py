"""Each gate can fail: a fault is put into the folds, and the job ends with exit code 4 and the first offending keys."""

import datetime as dt
import json
import random
from collections import Counter, defaultdict
from functools import cache
from types import SimpleNamespace

import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import FOLD, FOLDS, LABEL, PERIOD
from keyfold.dataset import leakage_gates
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.engine.frame import Computed
from keyfold.errors import PromiseError
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.split.folds import Folds
from keyfold.tracking import registry
from keyfold.training.job import train
from sections import data_and_label

TIME = {"validation": "2026-03-01", "test": "2026-04-01", "gap": "5 days"}
MODEL = {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}}
# Of each gate the split, the fold that a fault gives a row, and what is said.
FAULTS = {
    "rows of one person are in one fold": ({"by": "person"}, lambda row: ("test" if row[FOLD] == "train" else "train") if row["id"] == 501 else row[FOLD], "1 of 400 are in several, such as 101$"),
    "shares": ({"by": "person"}, lambda row: "test" if row["person"] < 150 else "train", "shares: train 250 of 400, expected 2"),
    "shares of the positive class": ({"by": "person"}, lambda row: row[FOLD] if row["person"] % 16 else "test", "failed. shares of the positive class: .*test 25 of 25, expected 0 to 1"),
    "train is before 2026-02-24": ({"time": TIME}, lambda row: "train" if row["id"] == 70 else row[FOLD], "such as 70$"),
    "validation is from 2026-03-01": ({"time": TIME}, lambda row: "validation" if row["id"] == 40 else row[FOLD], "such as 40$"),
    "test is from 2026-04-01": ({"time": TIME}, lambda row: "test" if row["id"] == 85 else row[FOLD], "such as 85$"),
    "train is before 2026-02-24 (gap)": ({"time": TIME}, lambda row: "train" if row["id"] == 55 else row[FOLD], "such as 55$"),
    "identical rows across folds": ({"max_identical": 0.01}, lambda row: row[FOLD], r"failed. identical .* rows outside train \(100.00%\) .*; at most 1.00% may, such as \d+, \d+, .*\. Name in split.by"),
}  # fmt: skip


def rows():
    """4,000 rows of 400 people, over 120 days; every 16th person's label is true at times."""
    ids = range(4000)
    at = [dt.date(2026, 1, 1) + dt.timedelta(i % 120) for i in ids]
    columns = {"id": ids, "person": [i % 400 for i in ids], "at": at, "y": [i % 400 % 16 == i % 3 == 0 for i in ids]}
    return pa.table({**columns, "x": [float(i) for i in ids], "few": [i % 3 for i in ids], PERIOD: ["all"] * len(ids)})


@pytest.fixture(scope="module", params=["spark_engine", "embedded"])
def state(request, tmp_path_factory, made_state):
    """Each engine, over a state folder with the table."""
    engine = request.getfixturevalue(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(made_state(tmp_path_factory.mktemp("gates"))))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        import mlflow

        mlflow.set_tracking_uri(None)
        run_of(engine, {}).rows.replace(engine.frame(rows()), PERIOD, {"all": 4000})
        yield engine
        mlflow.set_tracking_uri(None)


def run_of(engine, split, feature="x"):
    data = {"key": ["id"], "label": "y", "positive": True, "time": "at", "table": "gates.rows"}
    features = {"x": {"numeric": {"input_col": feature}}}
    return Run(
        parse_conf({"name": "gates", **data_and_label(data), "split": split, "features": features, "train": MODEL}), engine
    )


@pytest.fixture(scope="module")
def honest(state):
    """The gates of a split into which no fault is put; each split is checked once."""

    @cache
    def checked(split):
        run = run_of(state, json.loads(split))
        return leakage_gates.check_gates(run, labelled_rows(run))

    return lambda split: checked(json.dumps(split, sort_keys=True))


def faulty(monkeypatch, fold):
    whole = Folds.add

    def add(self, frame, column, number=None):
        def folds(batch):
            return [pa.array(map(fold, batch.to_pylist()), pa.string())]

        return whole(self, frame, column, number).compute(Computed({column: pa.string()}, folds))

    monkeypatch.setattr(Folds, "add", add)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_breaks_its_gate(state, monkeypatch, name):
    split, fold, said = FAULTS[name]
    run = run_of(state, split, feature="few" if name.startswith("identical") else "x")
    faulty(monkeypatch, fold)
    found = labelled_rows(run)
    with pytest.raises(PromiseError, match=said) as broken:
        leakage_gates.check_gates(run, found)
    assert broken.value.exit_code == 4
    assert name.removesuffix(" (gap)") in str(broken.value)
    assert str(broken.value).startswith("nothing was trained, because a check of the rows failed. ")


@pytest.mark.parametrize(
    "split",
    [
        {},
        {"by": "person"},
        {"by": "person", "stratified": True},
        {"time": TIME},
        {"time": TIME, "by": "person"},
        {"max_identical": 0, "allow": ["x"]},
    ],
)
def test_an_honest_split_passes(honest, split):
    found = honest(split)
    assert found
    assert all(gate.holds for gate in found)


@pytest.mark.parametrize("classes", [True, False])
def test_units_are_counted_by_their_folds_and_class(engine, classes):
    folds = Folds(
        parse_conf({"name": "t", "data": {"key": ["id"]}, "split": {"by": "person", "time": TIME}}).split, ["id"], "t", "at"
    )
    rows = [
        (i, (i % 7) or None, ("train", "validation", "test")[i % 5 % 3], i % 3 == 0, dt.date(2026, 1, 1 + i % 28), i % 4)
        for i in range(90)
    ]
    names = f"id bigint, person bigint, {FOLD} string, {LABEL} boolean, at date, x int"
    cells = leakage_gates._cells(engine.rows(rows, names), folds, ["x"], classes=classes)
    wanted = Counter()
    for unit, of in enumerate((lambda row: ("own", row[0]) if row[1] is None else row[1], lambda row: row[5])):
        units = defaultdict(list)
        for row in rows:
            units[of(row)].append(row)
        for some in units.values():
            mask = sum(1 << FOLDS.index(fold) for fold in {row[2] for row in some})
            wanted[unit, mask, any(row[3] for row in some) if classes else None] += 1
    assert {cell[:3]: cell.units for cell in cells} == wanted
    assert sum(sum(cell.rows) for cell in cells) == 2 * len(rows)
    day = [dt.datetime.combine(row[4], dt.time(), dt.UTC).timestamp() * 1e6 for row in rows if row[2] == "test"]
    assert min(cell.first[2] for cell in cells if cell.rows[2]) == min(day)
    assert max(cell.last[2] for cell in cells if cell.rows[2]) == max(day)
    assert max(cell.most for cell in cells if cell.unit == 1) == 23


def test_a_group_that_may_stand_for_an_unknown_value_is_reported(engine, capsys):
    run = SimpleNamespace(say=print)
    folds = Folds(parse_conf({"name": "t", "data": {"key": ["id"]}, "split": {"by": "person"}}).split, ["id"], "t")
    names = f"id bigint, person bigint, {FOLD} string, {LABEL} boolean"
    said = []
    for more in (60, 0):
        people = [*range(50), *[5] * more, *[6] * (more // 6)]
        frame = engine.rows([(i, person, "train", False) for i, person in enumerate(people)], names)
        leakage_gates._report_largest(run, frame, folds, leakage_gates._cells(frame, folds, [], classes=True))
        said.append(capsys.readouterr().out)
    assert said[0].startswith("61 of 120 rows are of one group, person '5', so the shares of rows differ")
    assert said[1] == ""


def test_every_gate_has_a_fault(honest):
    named = {gate.name for split, _, _ in FAULTS.values() for gate in honest(split)}
    tried = {name.removesuffix(" (gap)") for name in FAULTS}
    loose = {n for n in named if not any(n.startswith(t) for t in tried)}
    told = {"shares of the other class", "rows of one id are in one fold"}  # by the same code as their siblings
    assert loose <= told | {"columns that give the label away"}, "whose faults are columns, below"


def test_a_broken_gate_trains_nothing_and_the_evidence_is_kept(state, monkeypatch):
    run = run_of(state, {"by": "person", "folds": 3})
    version = train(run)
    api = registry.client()
    data = api.get_run(version.mlflow_run_id).data
    import mlflow

    evidence = json.loads(mlflow.artifacts.load_text(f"{api.get_run(version.mlflow_run_id).info.artifact_uri}/gates.json"))
    assert [gate["name"] for gate in evidence] == [
        "rows of one person are in one fold", "shares", "shares of the positive class", "shares of the other class",
        "identical rows across folds", "columns that give the label away",
    ]  # fmt: skip
    assert evidence[0]["seen"] == "0 of 400 are in several"
    assert 0 <= data.metrics["cross_validated_roc_auc"] <= 1
    assert "Checks of the folds" in run.write_report().read_text("utf-8")
    faulty(monkeypatch, lambda row: "train" if row["id"] % 3 else "test")
    broken = run_of(state, {"by": "person", "salt": "other"})
    with pytest.raises(PromiseError, match=r"400 of 400 are in several, such as 0, 1, 2"):
        train(broken)
    assert registry.registered_by("gates", broken.jobs[-1].run_id) is None


# --- copies ---

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


@pytest.fixture
def texts():
    """500 texts of five words, each with a label by chance, which stand in one to three rows."""
    rng = random.Random(0)
    lines = [(" ".join(rng.choices(WORDS, k=5)), rng.choice("yn")) for _ in range(500)]
    return [line for line in lines for _ in range(rng.randint(1, 3))]


def test_copies_of_a_row_without_a_key_are_in_one_fold(engine, home, tmp_path, texts):
    (tmp_path / "texts.csv").write_text("text,y\n" + "".join(f"{text},{y}\n" for text, y in texts))
    data = {"source": str(tmp_path / "texts.csv"), "columns": {"text": "string", "y": "string"}, "key": "content", "label": "y"}
    features = {"text": {"text": {"input_col": "text", "ngrams": 3, "num_buckets": 4096}}}
    conf = {"name": "texts", **data_and_label(data), "features": features, "train": MODEL}
    run = Run(parse_conf(conf | {"split": {"share": {"train": 0.6, "validation": 0.1, "test": 0.3}}}), engine)
    ingest(run)
    version = train(run)
    assert 0.4 < float(version.tags["keyfold.roc_auc"]) < 0.6, "nothing can be learnt"
    score(run, version)
    fold_of = {row["content_key"]: row["fold"] for row in run.predictions.frame().rows()}
    found = defaultdict(set)
    for row in run.rows.frame().rows():
        found[row["text"], row["y"]].add(fold_of[row["content_key"]])
    assert len(found) > 490 and all(len(folds) == 1 for folds in found.values())
