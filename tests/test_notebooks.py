"""The notebook, run as a reader runs it, from its own folder: it ends well, and what it says it shows is so."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
CHECKS = ["folds-stable", "spark-is-arrow", "one-row-a-key", "served-as-scored", "nothing-new"]


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    notebook = nbformat.read(FOLDER / "churn_tour.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(tmp_path_factory.mktemp("tour")))
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}).execute()
    return notebook


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


def test_what_is_to_be_checked_is_marked():
    notebook = nbformat.read(FOLDER / "churn_tour.ipynb", as_version=4)
    assert [cell.id for cell in code(notebook) if "check" in cell.metadata.get("tags", [])] == CHECKS


@pytest.mark.parametrize("check", CHECKS)
def test_it_is_as_the_tour_says(tour, check):
    assert shown(tour, "text/plain")[check] == "True"


def test_there_are_pictures(tour):
    assert list(shown(tour, "image/png")) == ["folds-plot", "features-plot", "quality-plot", "account"]


def test_nothing_is_warned_of(tour):
    said = [output.text for cell in code(tour) for output in cell.outputs if output.get("name") == "stderr"]
    assert [text for text in said if "Warning" in text or "Traceback" in text] == []
