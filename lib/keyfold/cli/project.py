"""Creates a project folder: an example conf, requirements, a CI file, .gitignore and a README."""

import re
from pathlib import Path

from keyfold.errors import ConfError
from keyfold.version import __version__

_CONF = """\
# Which customers will leave next month? Synthetic telecom customers, so that you can run it without data.
# For your own file: keyfold init data.csv --key COL --label COL --out conf/mine.yaml
name: {name}
data:
  source: {{generator: telecom, customers: 5000, months: 3, seed: 0}}   # your own: a path such as data/customers-*.csv
  key: [customer_id]             # one row per key and period
  time: month
  period: month
label: {{column: left_next_month, positive: true}}
features:
  tenure: {{numeric: {{input_col: tenure_days, scale: standard}}}}
  monthly_charge: {{numeric: {{input_col: monthly_charge, scale: standard}}}}
  calls: {{numeric: {{input_col: calls, scale: standard}}}}
  complaints: {{numeric: {{input_col: complaints, scale: standard}}}}
  contract: {{one_hot: {{input_col: contract}}}}
  plan: {{one_hot: {{input_col: plan}}}}
train:
  model: {{sklearn: {{estimator: sklearn.linear_model.LogisticRegression, params: {{max_iter: 1000}}}}}}
release:
  promote_if: {{roc_auc: {{at_least: 0.6}}}}   # on the test fold; else the champion stays
"""
_REQUIREMENTS = """\
keyfold=={version}   # with Spark, for what does not fit on one machine: keyfold[spark]=={version}
"""
_CI = """\
# Trains and scores the example conf on every push.
name: keyfold
on: [push, pull_request]
jobs:
  pipeline:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {{python-version: "3.12"}}
      - run: pip install -r requirements.txt
      - run: keyfold pipeline conf/{name}.yaml --set data.source.customers=2000
"""
_IGNORE = """\
/.keyfold/
spark-warehouse/
metastore_db/
derby.log
__pycache__/
.venv/
"""
_README = """\
# {name}

    pip install -r requirements.txt
    keyfold pipeline conf/{name}.yaml             # ingests, trains, scores; prints where the predictions and the report are

The state (tables, models, reports) is in `.keyfold`; set `KEYFOLD_HOME` to keep it elsewhere.

| task | command |
| --- | --- |
| a conf for a file | `keyfold init data.csv --key COL --label COL --out conf/mine.yaml` |
| train another model | `keyfold train conf/{name}.yaml --set train.model.sklearn.params.C=0.1` |
| score a period | `keyfold score conf/{name}.yaml --period 2026-10` |
| all jobs | `keyfold --help` |
"""
_FILES = {
    "conf/{name}.yaml": _CONF,
    "requirements.txt": _REQUIREMENTS,
    ".github/workflows/keyfold.yml": _CI,
    ".gitignore": _IGNORE,
    "README.md": _README,
}


def write_project(folder: Path, name: str | None = None) -> list[Path]:
    """Writes the files of a project into a folder that does not exist or is empty, and returns their paths (ConfError for any other)."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfError(f"`{folder}` exists and is not an empty folder; give another name (for the conf of a file: --label COL)")
    name = name or _use_case_name(folder.resolve().name)
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ConfError(f"--name must be letters, digits and _, a letter first (got `{name}`)")
    paths = []
    for path, text in _FILES.items():
        paths.append(folder / path.format(name=name))
        try:
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            paths[-1].write_text(text.format(name=name, version=__version__), "utf-8")
        except OSError as error:
            raise ConfError(f"`{paths[-1]}` cannot be written: {error.strerror}") from None
    return paths


def _use_case_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "example"
    return name if name[0].isalpha() else f"t_{name}"
