"""`python -m imbalanced_torch`, and what `imbalanced-torch` calls."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from imbalanced_torch._command_line import commands
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit('imbalanced-torch needs click, which is not installed. Run: pip install "imbalanced-torch[cli]".')
    commands(prog_name="imbalanced-torch")


if __name__ == "__main__":
    main()
