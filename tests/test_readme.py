"""The README's commands that are marked as tested, at a smaller size, as a person would type them."""

import os
import re
import subprocess
from pathlib import Path

import deltalake
import numpy as np

ROOT = Path(__file__).parent.parent
MARKED = re.compile(r"<!-- tested(?P<how>[^>]*)-->\n```sh\n(?P<block>.*?)```", re.DOTALL)


def blocks():
    return [(m["how"].strip(), m["block"]) for m in MARKED.finditer((ROOT / "README.md").read_text("utf-8"))]


def run(command, home):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK", "PYSPARK"))}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=environment | {"KEYFOLD_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    return done.stdout


def customers(path):
    rng = np.random.default_rng(0)
    spend, leaves = rng.gamma(2, 30, 600).round(2), rng.random(600)
    rows = [
        f"c{i},{s},{'ab'[i % 2]},{'Yes' if u < s / 150 else 'No'}" for i, (s, u) in enumerate(zip(spend, leaves, strict=True))
    ]
    path.write_text("customerID,Spend,Plan,Churn\n" + "\n".join(rows) + "\n")


def test_the_marked_commands_do_what_is_said(tmp_path):
    customers(tmp_path / "my_customers.csv")
    commands = [(how, line.split("#")[0].strip()) for how, block in blocks() for line in block.splitlines()]
    assert len(commands) == 3, "pipeline; init; pipeline"
    out = ""
    for how, command in commands:
        here = command.replace("my_customers.csv", f"{tmp_path}/my_customers.csv").replace(
            "conf/mine.yaml", f"{tmp_path}/mine.yaml"
        )
        out = run(f"{here} {how}", tmp_path / "state") or out
    assert "predictions  my_customers.predictions" in out
    found = deltalake.DeltaTable(str(tmp_path / "state/tables/my_customers/predictions")).to_pandas()
    assert len(found) == found.customerID.nunique() == 600
    assert deltalake.DeltaTable(str(tmp_path / "state/tables/churn/predictions")).to_pyarrow_table().num_rows > 1000
