"""The public API: `import keyfold` is quick and imports no library, and each public name is there."""

import ast
import subprocess
import sys

import pytest

import keyfold
from places import ROOT

REQUIRED = {
    "load", "parse", "session", "Run", "ingest", "fit_features", "train", "promote", "score", "load_model", "Spec", "training_set",
    "read_predictions",
}  # fmt: skip
LIBRARIES = ["pyspark", "pandas", "mlflow", "sklearn", "numpy", "pyarrow", "pydantic"]


def fresh(code):
    """What a program prints that runs in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT / "lib")}
    )
    return done.stdout.strip()


def test_importing_takes_less_than_100_ms_and_imports_no_library():
    code = f"""
import time
begin = time.perf_counter()
import keyfold
seconds = time.perf_counter() - begin
import sys
print(seconds, *(set({LIBRARIES}) & set(sys.modules)))
"""
    seconds, *imported = min(fresh(code) for _ in range(3)).split()
    assert float(seconds) < 0.1 and imported == []


def test_each_public_name_is_there():
    assert set(keyfold.__all__) >= REQUIRED
    assert set(dir(keyfold)) >= set(keyfold.__all__)
    assert all(getattr(keyfold, name) is not None for name in keyfold.__all__)
    with pytest.raises(AttributeError, match="module `keyfold` has no attribute `scores`"):
        keyfold.scores  # noqa: B018


def test_type_checkers_see_the_names_that_are_imported_lazily():
    tree = ast.parse((ROOT / "lib/keyfold/__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imports = {alias.asname or alias.name: f"{node.module}:{alias.name}" for node in guarded.body for alias in node.names}
    lazy = {name: f"keyfold.{place if ':' in place else f'{place}:{name}'}" for name, place in keyfold._DEFINED_IN.items()}
    assert imports == lazy and set(lazy) == set(keyfold.__all__)
