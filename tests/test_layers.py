"""The packages of the library: who imports whom."""

import ast

import grimp
import pytest

from places import ROOT

LIB = ROOT / "lib" / "keyfold"


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


@pytest.mark.parametrize("file", sorted(LIB.rglob("*.py")), ids=lambda file: str(file.relative_to(LIB)))
def test_names_of_columns_stand_in_one_module(file):
    if file == LIB / "core" / "names.py":
        return
    names = {
        ast.literal_eval(node.value)
        for node in ast.parse((LIB / "core" / "names.py").read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    here = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
    assert not here & names
