"""The packages of the library: who imports whom."""

import ast
from functools import cache

import grimp
import pytest

from keyfold.evaluation.metrics import METRICS
from places import ROOT

LIB = ROOT / "lib" / "keyfold"
FILES = sorted(LIB.rglob("*.py"))


def circles(imports):
    """Groups of modules that import each other, directly or not (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in imports[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for module in imports:
        if module not in index:
            visit(module)
    return [group for group in found if len(group) > 1]


def test_no_more_than_two_modules_import_each_other():
    graph = grimp.build_graph("keyfold", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) & graph.modules for module in graph.modules}
    assert [group for group in circles(imports) if len(group) > 2] == []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


@cache
def tree(file):
    return ast.parse(file.read_text())


@cache
def constants(file):
    """The values of all literals in a module."""
    return {node.value for node in ast.walk(tree(file)) if isinstance(node, ast.Constant)}


def names_in(module):
    """The values of a module's constants."""
    body = tree(LIB / module).body
    return {
        ast.literal_eval(node.value) for node in body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }


@cache
def imported(file):
    """The packages that a module imports, also inside functions and for types only."""
    nodes = [*ast.walk(tree(file))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}


ONE_PLACE = {
    "core/names.py": names_in("core/names.py"),
    "tracking/tags.py": names_in("tracking/tags.py"),
    "evaluation/metrics.py": {*METRICS}
    - {"accuracy", "balanced_accuracy", "f1", "precision", "recall"},  # words of other things, too
}
IMPORTED_BY = {  # the modules or packages that may import a package
    "deltalake": ["engine/deltalake_store.py", "engine/partition_files.py", "scoring/predictions.py"],
    "horovod": ["engine/launcher.py", "training/collectives.py", "training/horovod_launch.py"],
    "imblearn": ["training/rebalancing.py"],
    "jinja2": ["reporting"],
    "matplotlib": ["reporting"],
    "mlflow": ["tracking", "models/pyfunc.py"],  # which runs models of other origin
    "optuna": ["training"],
    "PIL": ["imaging", "features/kinds/image.py"],
    "sklearn": ["models", "conf/tune.py", "evaluation/calibrators.py"],
    "torch": ["training", "models", "features/matrix.py"],
    "torchvision": ["models/networks"],
    "yaml": ["conf/yaml.py", "profiling/yaml_text.py", "ingestion/drift.py", "feature_store/feast.py"],
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(LIB)))
def test_names_stand_in_one_module(file):
    here = constants(file)
    for module, names in ONE_PLACE.items():
        assert file == LIB / module or not here & names, f"import the name from {module}"


@pytest.mark.parametrize("package", IMPORTED_BY)
def test_a_package_is_imported_where_its_work_is_done(package):
    allowed = IMPORTED_BY[package]
    users = [file for file in FILES if package in imported(file)]
    assert users, "an entry that nothing uses"
    assert [file for file in users if not any(file.is_relative_to(LIB / place) for place in allowed)] == []


def test_sections_of_the_page_are_in_modules_of_that_name():
    builders = [
        file
        for file in FILES
        if any(isinstance(node, ast.Call) and ast.unparse(node.func).endswith("PageSection") for node in ast.walk(tree(file)))
    ]
    assert builders, "the class has another name"
    assert [file for file in builders if not file.name.endswith("sections.py")] == []
