"""Low files know nothing of high ones, and the package imports without a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import imbalanced_torch

FOLDER = Path(imbalanced_torch.__file__).parent
NUMPY, TORCH, SKLEARN = {"numpy"}, {"numpy", "torch", "scipy"}, {"numpy", "torch", "scipy", "sklearn", "skorch"}

#: File -> the packages it may know. Which of our files a file may import follows: none that knows more than itself.
KNOWS = {
    "_hyperparameters": NUMPY,
    "_class_weight": NUMPY,
    "_keywords": NUMPY,
    "_schedule": NUMPY,
    "_prior": TORCH,
    "_logits": TORCH,
    "_targets": TORCH,
    "_losses": TORCH,
    "_decision": TORCH,
    "_prediction": TORCH,
    "_sampling": TORCH,
    "_streams": TORCH,
    "_criterion": TORCH,
    "_hooks": TORCH,
    "_module": TORCH,
    "_layers": TORCH,
    "_optimizer_step": TORCH,
    "_global_state": TORCH,
    "_remedy": TORCH,
    "_rows": TORCH,
    "_holdout": TORCH,
    "_input": SKLEARN,
    "_callbacks": SKLEARN,
    "_shortcut": SKLEARN,
    "_net": SKLEARN,
    "_tuned_offset": SKLEARN,
    "_classifier": SKLEARN,
    "__init__": SKLEARN,
}
STANDARD = {
    *(
        "__future__",
        "abc",
        "collections",
        "copy",
        "dataclasses",
        "difflib",
        "functools",
        "inspect",
        "itertools",
        "math",
    ),
    *("multiprocessing", "numbers", "operator", "os", "reprlib", "threading", "typing", "warnings", "contextlib"),
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            yield node.module


GRAPH = {path.stem: set(imports(path)) for path in FOLDER.glob("*.py")}


def test_every_file_has_a_place_in_the_layers():
    assert GRAPH.keys() == KNOWS.keys()


@pytest.mark.parametrize("file", GRAPH)
def test_a_file_knows_no_package_above_its_layer(file):
    packages = {name.split(".")[0] for name in GRAPH[file]} - {"imbalanced_torch"}
    assert packages - STANDARD <= KNOWS[file]


@pytest.mark.parametrize("file", GRAPH)
def test_a_file_imports_no_file_that_knows_more(file):
    ours = {name.split(".")[1] for name in GRAPH[file] if name.startswith("imbalanced_torch.")}
    assert all(KNOWS[other] <= KNOWS[file] for other in ours)


def test_there_is_no_import_circle():
    graph = {
        file: {name.split(".")[1] for name in names if name.startswith("imbalanced_torch.")}
        for file, names in GRAPH.items()
    }
    assert list(TopologicalSorter(graph).static_order())[-1] == "__init__"


def test_public_names_are_sorted_and_exist():
    names = imbalanced_torch.__all__
    assert names == sorted(names)
    assert all(hasattr(imbalanced_torch, name) for name in names)


@pytest.mark.parametrize("name", imbalanced_torch.__all__)
def test_every_public_name_has_a_docstring(name):
    assert getattr(imbalanced_torch, name).__doc__.strip()


def test_the_package_declares_its_types():
    assert (FOLDER / "py.typed").exists()
