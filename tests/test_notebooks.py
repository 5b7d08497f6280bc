"""The notebooks, run as a reader runs them, from their own folder: they end well, and what they say they show is so."""

import ast
import importlib.util

import nbformat
import pytest
from nbclient import NotebookClient

import keyfold
from places import ROOT

FOLDER = ROOT / "notebooks"
CHECKS = {
    "churn_tour": ["folds-stable", "spark-is-arrow", "one-row-a-key", "served-as-scored", "nothing-new"],
    "embeddings": ["as-liked"],
    "labels": ["covered", "thresholds-help", "unclear-left-out", "stack-gains", "most-leave-early", "corrected-rate"],
    "scoring": ["one-row-a-key", "as-it-was", "each-image-answered"],
    "windows": ["replayed-as-batch", "never-the-future"],
}
PICTURES = {
    "churn_tour": ["folds-plot", "features-plot", "quality-plot", "account"],
    "embeddings": ["neighbours-plot"],
    "labels": ["houses-plot", "news-plot", "reviews-plot", "churn-plot", "spam-plot", "fraud-plot"],
    "scoring": ["scores-plot", "images-plot"],
    "windows": ["windows-plot", "view-plot"],
}
TORCH = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs torch: ./tests/run --horovod")


@pytest.fixture(
    scope="module",
    params=[
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("churn_tour", "scoring")),
        pytest.param("embeddings", marks=[pytest.mark.slow, TORCH]),
        "labels",
        "windows",
    ],
)
def tour(request, tmp_path_factory, made_state):
    notebook = nbformat.read(FOLDER / f"{request.param}.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(made_state(tmp_path_factory.mktemp("tour"))))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # which MLflow sets in a process that has used another state folder
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}).execute()
    return request.param, notebook


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(notebook, kind):
    """What the cells show of a media type, by the cell's id."""
    outputs = [(cell.id, output.data) for cell in code(notebook) for output in cell.outputs if "data" in output]
    return {name: data[kind] for name, data in outputs if kind in data}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(path):
    cells = code(nbformat.read(path, as_version=4))
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count] == []
    assert [cell.id for cell in cells if "check" in cell.metadata.get("tags", [])] == CHECKS[path.stem]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_use_the_public_api_alone(path):
    source = "\n".join(cell.source.replace("%matplotlib inline", "") for cell in code(nbformat.read(path, as_version=4)))
    nodes = [*ast.walk(ast.parse(source))]
    imports = {alias.name: alias.asname for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert imports["keyfold"] == "kf"
    assert [name for name in [*imports, *modules] if name.startswith("keyfold.")] == [] and "keyfold" not in modules
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "kf"}
    assert used <= set(keyfold.__all__)


def test_it_is_as_the_tour_says(tour):
    name, notebook = tour
    said = shown(notebook, "text/plain")
    assert {check: said[check] for check in CHECKS[name]} == dict.fromkeys(CHECKS[name], "True")
    assert list(shown(notebook, "image/png")) == PICTURES[name]


def test_nothing_is_warned_of(tour):
    said = [output.text for cell in code(tour[1]) for output in cell.outputs if output.get("name") == "stderr"]
    assert [text for text in said if "Warning" in text or "Traceback" in text] == []
