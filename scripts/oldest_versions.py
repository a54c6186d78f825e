"""Print the oldest versions that pyproject.toml allows, as constraints for pip.

`python scripts/oldest_versions.py > constraints-oldest.txt`
"""

import re
import tomllib
from pathlib import Path

EXTRAS = ("examples", "explain", "onnx", "tests")


def oldest_versions() -> str:
    """Return a constraint for each dependency of the package and its tests: its lower bound."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(name for extra in EXTRAS for name in project["optional-dependencies"][extra])]
    bounds = [name for name in needed if not name.startswith(project["name"])]
    lines = [re.sub(r"^([\w.-]+)>=([\w.]+)$", r"\1==\2", bound) for bound in bounds]
    return "\n".join(["# The lower bounds in pyproject.toml, by scripts/oldest_versions.py.", *sorted(lines)])


if __name__ == "__main__":
    print(oldest_versions())
