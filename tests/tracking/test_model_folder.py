"""A registered model is its whole folder: what was changed, added or removed in it is refused before anything is loaded."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.exceptions import MlflowException

import keyfold
from keyfold.core import digests
from keyfold.errors import ConfError, DataError, PromiseError
from keyfold.models.model import Model
from keyfold.serving import pyfunc as serving
from keyfold.tracking import model_folder, registry, training_runs
from keyfold.tracking.tags import MODEL_DIGEST
from shop_model import ROWS, shop_model

CHAMPION = "models:/shop@champion"


@pytest.fixture(scope="module")
def registered(tmp_path_factory, made_state):
    """A registered version, and the folder that MLflow's store has of it."""
    home = made_state(tmp_path_factory.mktemp("logged"))
    kept = {name: os.environ.pop(name, None) for name in ("KEYFOLD_HOME", "MLFLOW_TRACKING_URI")}
    os.environ["KEYFOLD_HOME"] = str(home)
    mlflow.set_tracking_uri(None)
    log = training_runs.TrainingLog("shop", tags={"keyfold.run_id": "0"}, files={"spec.json": "{}"})
    version = training_runs.register("shop", shop_model(), log)
    registry.promote(version)
    (root,) = (path.parent for path in home.rglob("MLmodel"))
    yield version, root
    mlflow.set_tracking_uri(None)
    os.environ.pop("KEYFOLD_HOME")
    os.environ.update({name: value for name, value in kept.items() if value is not None})


@pytest.fixture
def store(registered, tmp_path):
    """The folder in the store, to be tampered with; it is as it was afterwards."""
    _, root = registered
    shutil.copytree(root, tmp_path / "sound")
    yield root
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "sound", root)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "ran"


def refused(version, tmp_path):
    with pytest.raises((PromiseError, DataError), match=r"the files of shop version 1 (are not those|could not be downloaded)"):
        registry.fetch_model(version, Path(tempfile.mkdtemp(dir=tmp_path)))
    with pytest.raises((PromiseError, DataError), match=r"one was changed, added or removed|MLflow's store"):
        keyfold.load_model(CHAMPION)


def test_each_file_counts_be_it_changed_or_removed(registered, store, tmp_path):
    version, root = registered
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file() and "code/keyfold/" not in str(p))
    files += [Path("code/keyfold/serving/pyfunc.py"), Path("code/keyfold/features/kinds/hashed.py")]
    assert {"MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml"} < {str(file) for file in files}
    assert sum(file.parts[0] == "data" for file in files) == 5
    digest, seen = version.tags[MODEL_DIGEST], set()
    assert model_folder.model_digest(root) == digest
    assert registry.client().get_run(version.mlflow_run_id).data.tags[MODEL_DIGEST] == digest
    for file in files:
        sound = (root / file).read_bytes()
        (root / file).write_bytes(b"")
        seen.add(model_folder.model_digest(root))
        (root / file).unlink()
        seen.add(model_folder.model_digest(root))
        (root / file).write_bytes(sound)
    assert len(seen) == 2 * len(files)
    assert digest not in seen
    for file in ("requirements.txt", "MLmodel", "data/model/spec.json"):
        sound = (root / file).read_bytes()
        for change in ((root / file).unlink, lambda at=root / file, to=sound + b"\n": at.write_bytes(to)):
            change()
            refused(version, tmp_path)
            (root / file).write_bytes(sound)
    assert keyfold.load_model(CHAMPION).version == version, "all as it was"


def test_a_model_that_is_refused_leaves_no_files(store, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (store / "requirements.txt").unlink()
    with pytest.raises(PromiseError) as _:  # which keeps the frames of the call, and what they refer to
        keyfold.load_model(CHAMPION)
    assert [*(tmp_path / "temporary").iterdir()] == []


def planted(root, marker):
    """By name, what an attacker plants; the marker is written where it runs."""
    evil = f"open({str(marker)!r}, 'w').close()\n"
    loader = (
        evil + "class M:\n    def predict(self, x, params=None):\n        return x\n\ndef _load_pyfunc(path):\n    return M()\n"
    )
    described = (root / "MLmodel").read_text()
    linked = marker.parent / "linked"
    linked.mkdir()
    (linked / "__init__.py").write_text(evil)

    def module(name):
        (root / "code" / f"{name}.py").write_text(loader)

    def other_loader():
        module("evil")
        (root / "MLmodel").write_text(described.replace("keyfold.serving", "evil"))

    def own_code():
        serving = root / "code/keyfold/serving/pyfunc.py"
        serving.write_text(evil + serving.read_text())

    return {
        "one more module": lambda: module("evil"),
        "another loader": other_loader,
        "its own code": own_code,
        "a package beside": lambda: module("sitecustomize"),
        "a folder by a link": lambda: (root / "code/evil").symlink_to(linked),
    }


PLANTED = ["one more module", "another loader", "its own code", "a package beside", "a folder by a link"]


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_does_not_run(registered, store, marker, tmp_path, what):
    version, root = registered
    planted(root, marker)[what]()
    refused(version, tmp_path)
    assert not marker.exists()
    if what == "another loader":
        mlflow.pyfunc.load_model(CHAMPION)
        assert marker.exists(), "MLflow's own door runs it"


def test_what_mlflow_and_python_leave_in_a_local_store_is_no_change_and_is_not_kept(registered, store, tmp_path):
    version, root = registered
    (root / "code/keyfold/__pycache__").mkdir()
    (root / "code/keyfold/__pycache__/serving.cpython-311.pyc").write_bytes(b"planted")
    (root / model_folder.META).write_text("model_name: another\n")
    fetched = Path(tempfile.mkdtemp(dir=tmp_path))
    assert registry.fetch_model(version, fetched).parts[-2:] == ("data", "model")
    assert not [path for name in model_folder.LATER for path in fetched.rglob(name)]


@pytest.mark.parametrize("uri", [CHAMPION, "models:/shop/1", "runs:/{}"])
def test_a_checked_model_answers_pandas_and_arrow_alike(registered, uri):
    version, _ = registered
    served = keyfold.load_model(uri.format(version.mlflow_run_id))
    assert (served.version, served.columns) == (version, ["city", "plan"])
    frame = ROWS.iloc[5:9]
    pandas, arrow = served.predict(frame), served.predict(pa.Table.from_pandas(ROWS))
    assert list(pandas.index) == list(frame.index)
    assert arrow.schema == pa.schema({"prediction": pa.bool_(), "probability": pa.float64()})
    assert pandas.probability.to_numpy().tobytes() == arrow["probability"].to_numpy()[5:9].tobytes()
    alone = [served.predict(ROWS.iloc[[i]]).probability.iloc[0] for i in range(40)]
    assert np.array(alone).tobytes() == arrow["probability"].to_numpy().tobytes()
    assert served.predict(ROWS.iloc[:0]).shape == (0, 2)
    with pytest.raises(DataError, match="no column `plan`"):
        served.predict(ROWS[["city"]])


def test_a_name_that_names_no_model_is_told():
    for uri, said in (
        ("models:/none@champion", "no version of `none`"),
        ("models:/none/7", "no version"),
        ("runs:/0", "run `0`"),
    ):
        with pytest.raises(DataError, match=said):
            keyfold.load_model(uri)
    for uri in ("shop", "models:/shop", "models:/m-0/1/2", "runs:/a/b", "s3://x"):
        with pytest.raises(ConfError, match="models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID"):
            keyfold.load_model(uri)


def test_a_store_without_the_files_is_refused(registered, store, tmp_path):
    version, root = registered
    shutil.rmtree(root)
    try:
        with pytest.raises(PromiseError, match="the files of shop version 1"):
            registry.fetch_model(version, Path(tempfile.mkdtemp(dir=tmp_path)))
    finally:
        root.mkdir()


def test_predictions_that_differ_from_those_of_training_are_logged(registered, store, tmp_path, monkeypatch, caplog):
    _, root = registered
    facts = json.loads((root / "data/model/model.json").read_text())
    assert len(facts["answers"]) == 40
    assert Model.load(root / "data/model").parity == (40, 0, 0.0)
    moved = np.nextafter(float.fromhex(facts["answers"][3]), 1)
    facts["answers"][3] = float(moved).hex()
    (root / "data/model/model.json").write_text(json.dumps(facts))
    monkeypatch.setattr(model_folder, "refuse_other_files", lambda *_: None)
    with caplog.at_level(logging.WARNING, "keyfold"):
        assert keyfold.load_model(CHAMPION).model.parity.differ == 1
    assert "shop version 1: predictions here differ from those where it was trained" in caplog.text
    assert "(1 of 40 synthetic rows, by " in caplog.text


# --- MLflow's own door ---


def test_mlflows_door_finds_what_was_changed_unless_it_ran_it(registered, store, monkeypatch, caplog):
    _, root = registered
    assert mlflow.pyfunc.load_model(CHAMPION).predict(ROWS).shape == (40, 2)
    assert not caplog.records
    (root / "requirements.txt").write_text("")
    for path in (CHAMPION, str(root)):
        with pytest.raises(PromiseError, match="not those that were registered"):
            mlflow.pyfunc.load_model(path)
    (root / model_folder.META).unlink()  # of another way to this folder
    with pytest.raises(PromiseError, match="the files of the model of run"):
        mlflow.pyfunc.load_model(str(root))


def unreachable(*_):
    raise MlflowException("API request to http://me:secret@mlflow.example failed")


@pytest.mark.parametrize("uri", [None, "sqlite:////nowhere/at/all.db", "http://me:secret@mlflow.example"])
def test_where_the_registry_cannot_be_asked_that_is_logged(registered, tmp_path, caplog, monkeypatch, uri):
    _, root = registered
    shutil.copytree(root, tmp_path / "copy")
    kept = mlflow.get_tracking_uri()
    if uri and uri.startswith("http"):
        monkeypatch.setattr(mlflow, "MlflowClient", unreachable)
    try:
        mlflow.set_tracking_uri(uri)
        with caplog.at_level(logging.WARNING, "keyfold"):
            model_folder.check_from_inside(tmp_path / "copy/data/model")
    finally:
        mlflow.set_tracking_uri(kept)
    (said,) = (record.getMessage() for record in caplog.records if record.name == "keyfold")
    assert "were not checked: MLflow's registry did not answer" in said
    assert "secret" not in said
    assert not Path("/nowhere").exists()


# --- registered by others ---


def as_by_the_first_release(registered):
    version, _ = registered
    api = registry.client()
    source = api.get_model_version(version.name, version.version).source
    tags = {name: value for name, value in version.tags.items() if name != MODEL_DIGEST}
    api.create_registered_model("old")
    made = api.create_model_version("old", source, version.mlflow_run_id, tags)
    return registry.find_version(f"models:/old/{made.version}")


def test_a_model_of_the_first_release_is_loaded_and_what_is_not_checked_is_said(registered, store, tmp_path, caplog):
    old = as_by_the_first_release(registered)
    _, root = registered
    (root / "requirements.txt").write_text("")
    with caplog.at_level(logging.WARNING, "keyfold"):
        assert len(keyfold.load_model("models:/old/1").predict(ROWS)) == 40
    assert "old version 1 was registered by keyfold 0.1: only the files in `data` are checked" in caplog.text
    assert model_folder.package_differences(registry.fetch_model(old, tmp_path / "a")) == [
        "requirements.txt is missing, or names no release of a package, so they cannot be compared"
    ]
    (root / "data/model/spec.json").unlink()
    with pytest.raises(PromiseError, match="old version 1"):
        keyfold.load_model("models:/old/1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, ["is missing"]),
        ("# nothing\n-r other.txt\n", ["is missing, or names no release"]),
        (f"numpy=={np.__version__}  # as here\nxxhash==0.0\nnone-such==1\npandas<3\n",
         ["xxhash .*, not 0.0", "none-such missing, not 1", "pandas<3, for which no release is named"]),
        (f"numpy=={np.__version__}", []),
    ],
)  # fmt: skip
def test_packages_are_compared_where_they_are_named(tmp_path, text, said):
    if text is not None:
        (tmp_path / "requirements.txt").write_text(text)
    found = model_folder.package_differences(tmp_path)
    assert len(found) == len(said)
    for words, sentence in zip(found, said, strict=True):
        assert pd.Series([words]).str.contains(sentence).all(), words


def test_a_foreign_model_is_run_where_its_digest_is_trusted(registered, marker):
    def rule(model_input):
        return model_input["plan"] * 2

    registry.client()
    signature = mlflow.models.infer_signature(ROWS[["plan"]], rule(ROWS))
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="m", python_model=rule, signature=signature, registered_model_name="rule", pip_requirements=["numpy"]
        )
    with pytest.raises(DataError, match=r"score.trust: [0-9a-f]{32}") as told:
        keyfold.load_model("models:/rule/1")
    trust = str(told.value)[-32:]
    served = keyfold.load_model("models:/rule/1", trust=trust)
    assert served.predict(ROWS).prediction.tolist() == [2 * n for n in range(40)]
    assert served.predict(pa.Table.from_pandas(ROWS))["prediction"].to_pylist() == [2 * n for n in range(40)]


def test_importing_keyfold_loads_nothing_more():
    code = "import sys, keyfold; print('load_model' in dir(keyfold), {'pandas', 'mlflow', 'pyarrow'} & {*sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "True set()\n"


def test_a_folders_digest_is_of_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("x")
    one = digests.folder_digest(tmp_path)
    (tmp_path / "empty").mkdir()
    assert digests.folder_digest(tmp_path) == one == digests.digest({"a": digests.file_digest(tmp_path / "a")})
    (tmp_path / "a").rename(tmp_path / "b")
    other = digests.folder_digest(tmp_path)
    odd = os.fsencode(tmp_path / "b") + b"\xff"
    Path(os.fsdecode(odd)).write_text("x")
    assert digests.folder_digest(tmp_path) != other, "a name may be of any bytes"
    Path(os.fsdecode(odd)).unlink()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert len({one, other, digests.folder_digest(tmp_path)}) == 3
    linked = digests.digest({"link": f"-> {tmp_path / 'b'}"})
    assert digests.folder_digest(tmp_path, {"b", "link"}) == linked, "a link is never left out"


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (pd.DataFrame([[1, 2]], columns=["i", "i"]), "column `i` occurs more than once; keep one"),
        (pd.DataFrame({"s": ["\ud800"]}), "column `s` cannot be read as string"),
        (pd.DataFrame({"i": [1j]}), "column `i` cannot be read as bigint"),
        (pd.DataFrame({"t": ["tomorrow"]}), "column `t` cannot be read as date"),
    ],
)
def test_odd_rows_of_pandas_are_a_sentence(frame, sentence):
    with pytest.raises(DataError, match=sentence):
        serving.arrow_table(frame, {"i": "bigint", "s": "string", "t": "date"})
