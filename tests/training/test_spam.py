"""A cascade of keywords, metadata and content on real text messages, of which an eighth are spam."""

import os
from pathlib import Path

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep

DATA = os.environ.get("KEYFOLD_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA names no folder of real data")
WORDS = {
    "prizes": "claim prize prizes won winner win awarded award guaranteed selected voucher vouchers cash bonus free offer offers",
    "acts": "call txt text reply stop send urgent contact collect unsubscribe ringtone tone tones poly mobile camera phone landline",
    "links": "www http com uk co net",
    "dates": "sexy chat dating date girls xxx singles lonely private",
    "plain": "i im you me ok gonna later home sorry he she my",
}
LINEAR = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 30, "max_iter": 2000}}
EXIT = {"precision_at_least": {"ham": 0.993, "spam": 0.99}, "rows_at_least": 20}
STAGES = {
    "keywords": {"features": [*WORDS, "digits"], "model": {"sklearn": LINEAR}, "exit": EXIT},
    "metadata": {"features": ["signs", "digits", {"stage": "keywords"}], "model": {"sklearn": LINEAR}, "exit": EXIT},
    "content": {"features": ["content"], "model": {"sklearn": LINEAR}},
}
FEATURES = {
    **{name: {"found": {"input_col": "text", "words": words.split()}} for name, words in WORDS.items()},
    "digits": {"found": {"input_col": "text", "patterns": ["digits"]}},
    "signs": {"found": {"input_col": "text", "patterns": ["characters", "money", "urls", "phones", "shouted", "exclamations"]}},
    "content": {"text": {"input_col": "text", "max_tokens": 8000, "weights": "tfidf"}},
}


def messages(folder, salt="sms"):
    source = folder / "sms.tsv"
    source.write_bytes(b"kind\ttext\n" + (Path(str(DATA)) / "sms_spam" / "sms.tsv").read_bytes())
    return parse_conf(
        {
            "name": "sms",
            "data": {"source": str(source), "key": "content", "csv": {"quote": ""}, "columns": {"kind": "string", "text": "string"}},
            "label": {"column": "kind", "positive": "spam"},
            "split": {"by": ["text"], "salt": salt, "share": {"train": 0.5, "validation": 0.25, "test": 0.25}},
            "features": FEATURES,
            "train": {"model": {"cascade": {"stages": STAGES}}},
            "release": {"promote_if": {"f1": {"at_least": 0.85}}},
        }
    )  # fmt: skip


def test_a_cascade_decides_as_well_as_its_last_stage_alone(embedded, home, tmp_path):
    run = Run(messages(tmp_path), embedded)
    ingest(run)
    version = train(run)
    score(run, promote_or_keep(run, version))
    stages = run.predictions.frame().select(["stage"]).to_arrow()["stage"].to_pylist()
    assert len(stages) == 5574 and stages.count("content") < 0.1 * len(stages)
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
    print({name: value for name, value in metrics.items() if "alone" in name})
    assert metrics["test_alone_f1"] > 0.9 and metrics["test_alone_f1_difference"] > -0.01
