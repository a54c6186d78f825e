"""Where the tests run: the lower bounds, the Pythons and the commands agree wherever they are written down."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOX, CI, CONTRIBUTING = ((ROOT / name).read_text() for name in ("noxfile.py", ".ci/run", "CONTRIBUTING.md"))
WORKFLOW = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
SESSIONS = set(re.findall(r"^def ([a-z]\w*)\(session", NOX, flags=re.MULTILINE))
OTHER_KERNELS = "MKL_CBWR=COMPATIBLE ATEN_CPU_CAPABILITY=default"


def test_the_oldest_versions_are_the_lower_bounds():
    made = runpy.run_path(str(ROOT / "scripts" / "oldest_versions.py"))["oldest_versions"]()
    assert (ROOT / "constraints-oldest.txt").read_text() == f"{made}\n"
    assert {f"{name}=={bound}" for name, bound in _bounds(PYPROJECT["project"]["dependencies"])} <= set(made.split())


def _bounds(requirements):
    return [requirement.split(">=") for requirement in requirements]


def test_every_dependency_has_a_lower_bound_and_no_other():
    extras = [line for lines in PYPROJECT["project"]["optional-dependencies"].values() for line in lines]
    for requirement in [*PYPROJECT["project"]["dependencies"], *extras]:
        assert re.fullmatch(r"[\w.-]+>=[\d.]+|imbalanced-torch\[\w+\]", requirement)


@pytest.mark.parametrize("pythons", [NOX, WORKFLOW], ids=["nox", "workflow"])
def test_the_same_pythons_stand_everywhere(pythons):
    classifiers = PYPROJECT["project"]["classifiers"]
    named = [line.rpartition(" ")[2] for line in classifiers if re.search(r"Python :: 3\.\d+", line)]
    assert re.search(r"PYTHONS = |python: ", pythons)
    assert set(re.findall(r'"(3\.\d+)"', pythons)) == set(named)
    assert PYPROJECT["project"]["requires-python"] == f">={named[0]}"


def test_the_workflow_runs_every_session_and_ci():
    listed = re.search(r"session: \[(.*)\]", WORKFLOW)[1].split(", ")
    assert {*listed, *re.findall(r"session: (\w+),", WORKFLOW)} == SESSIONS
    assert "bash .ci/run" in WORKFLOW


def test_other_kernels_are_the_same_everywhere():
    command = f'{OTHER_KERNELS} sh scripts/test -m "numerical and not slow"'
    assert CI.count(f"\n{command}\n") == 1
    assert f"`{command}`" in CONTRIBUTING
    variables = dict(setting.split("=") for setting in OTHER_KERNELS.split())
    assert all(f'"{name}": "{value}"' in NOX for name, value in variables.items())


def test_what_compares_numbers_is_marked(pytestconfig):
    import conftest

    files = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    assert files >= conftest.NOT_NUMERICAL
    assert not conftest.NOT_NUMERICAL & {"test_step.py", "test_layers.py", "test_net.py", "test_statistics.py"}
    assert any(line.startswith("numerical:") for line in pytestconfig.getini("markers"))
