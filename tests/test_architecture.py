"""Low files know nothing of high ones, and the package imports without a circle."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import imbalanced_torch

FOLDER = Path(imbalanced_torch.__file__).parent

#: Folder or file at the root -> what it may import of ours, beside what is in it. The order is that of the data's way.
ARROWS = {
    "_version": set(),
    "_parameters": set(),
    "_group": set(),
    "_data": {"_parameters", "_group"},
    "_losses": {"_parameters"},
    "_remedies": {"_parameters", "_data", "_group"},
    "_prediction": {"_parameters", "_data", "_losses"},
    "_persistence": {"_parameters", "_remedies", "_version", "_group"},
    "_ensemble": {"_parameters", "_data", "_losses", "_group"},
    "_net": {
        *("_parameters", "_data", "_losses", "_remedies", "_prediction", "_persistence", "_ensemble", "_fast"),
        "_group",
    },
    "_fast": {"_data", "_losses", "_ensemble", "_net"},
    "_fit": {
        *("_parameters", "_data", "_losses", "_remedies", "_prediction"),
        *("_persistence", "_ensemble", "_net", "_group", "_version"),
    },
    "_displays": {"_parameters", "_data", "_prediction", "_remedies"},
    "_repr": {"_parameters", "_prediction"},
    "_tuned_offset": {"_data", "_parameters", "_persistence", "_prediction"},
    "_show_versions": {"_version"},
    "_export": {
        *("_version", "_parameters", "_data", "_losses", "_remedies", "_prediction"),
        *("_persistence", "_ensemble", "_net", "_fit"),
    },
    "_fitted_classifier": {
        *("_parameters", "_data", "_ensemble", "_export", "_net", "_persistence", "_prediction", "_repr"),
    },
    "_classifier": {
        *("_parameters", "_data", "_remedies", "_prediction", "_ensemble"),
        *("_net", "_fit", "_fitted_classifier", "_group"),
    },
    "_comparison": {
        *("_classifier", "_data", "_displays", "_parameters", "_persistence", "_prediction", "_version"),
    },
    "_command_line": {"_classifier", "_comparison", "_data", "_parameters", "_version"},
    "__main__": {"_command_line"},
}
#: The one file that knows the fast path.
DOOR = FOLDER / "_net" / "skorch_net.py"
#: Packages that the core needs, and what is imported where a user asks for it.
PACKAGES = {"joblib", "narwhals", "numpy", "safetensors", "scipy", "skorch", "sklearn", "torch", "tqdm"}
OPTIONAL = {"click", "jinja2", "markupsafe", "matplotlib", "onnx", "onnxscript", "pandas", "polars", "skops"}
FILES = sorted(path for path in FOLDER.rglob("*.py") if path.name != "__init__.py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place_of(path):
    """Return the folder of a file, or its own name at the root."""
    return path.relative_to(FOLDER).parts[0].removesuffix(".py")


def ours(path):
    """Return the folders or root files of ours that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("imbalanced_torch.")}


def test_every_folder_has_its_arrows():
    assert {place_of(path) for path in FILES} == ARROWS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_file_imports_only_along_the_arrows(path):
    assert ours(path) - {place_of(path)} <= ARROWS[place_of(path)]
    packages = {name.split(".")[0] for name in imports(path)} - {"imbalanced_torch"}
    assert packages - sys.stdlib_module_names - OPTIONAL <= PACKAGES


def test_the_arrows_make_no_circle_but_that_of_the_fast_path_and_its_door():
    arrows = {name: others - {"_fast"} for name, others in ARROWS.items()}
    TopologicalSorter(arrows).prepare()
    assert [path for path in FILES if "_fast" in ours(path) and place_of(path) != "_fast"] == [DOOR]


def test_files_import_each_other_in_no_circle():
    graph = {}
    for path in FILES:
        module = ".".join(("imbalanced_torch", *path.relative_to(FOLDER).with_suffix("").parts))
        found = {name for name in imports(path) if name.startswith("imbalanced_torch.")}
        graph[module] = {name.rpartition(".")[0] for name in found} - {"imbalanced_torch._fast"}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", sorted(name for name in ARROWS if (FOLDER / name).is_dir()))
def test_a_folder_says_what_is_in_it_and_holds_few_files(folder):
    assert ast.get_docstring(ast.parse((FOLDER / folder / "__init__.py").read_text()))
    assert len(list((FOLDER / folder).glob("[!_]*.py"))) <= 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_file_has_at_most_500_lines_and_a_function_50(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) else None
            lines = node.end_lineno - (docstring.end_lineno if docstring else node.lineno)
            assert lines <= 50 or node.name == "__init__", f"{node.name} has {lines} lines"


def test_public_names_are_sorted_and_exist():
    names = imbalanced_torch.__all__
    assert names == sorted(names)
    assert all(hasattr(imbalanced_torch, name) for name in names)


@pytest.mark.parametrize("name", imbalanced_torch.__all__)
def test_every_public_name_has_a_docstring_of_its_own(name):
    """A dataclass without one is given its signature, and a class without one has its base's by inspect.getdoc."""
    public = getattr(imbalanced_torch, name)
    own = vars(public)["__doc__"] if isinstance(public, type) else public.__doc__
    first = own.strip().splitlines()[0]
    assert not first.startswith(f"{name}(")
    assert first.endswith((".", ":")), first


def test_the_package_declares_its_types():
    assert (FOLDER / "py.typed").exists()
