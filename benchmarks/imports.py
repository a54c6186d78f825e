"""How long `import imbalanced_torch` takes, as a ratio to importing torch, skorch and scikit-learn themselves.

    python benchmarks/imports.py

Each import is a process of its own, taken in turn.
"""

import argparse
import subprocess
import sys
import time

import numpy as np

THEIRS = "import torch, skorch, sklearn"


def seconds(code):
    """Return the time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main():
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    pairs = [(seconds("import imbalanced_torch"), seconds(THEIRS)) for _ in range(rounds + 1)][1:]
    ours, theirs = np.array(pairs).T
    ratio = ours / theirs
    print(
        f"imbalanced_torch {np.median(ours):.2f} s, torch + skorch + scikit-learn {np.median(theirs):.2f} s: "
        f"{np.median(ratio):.3f} ({ratio.min():.3f} to {ratio.max():.3f})"
    )


if __name__ == "__main__":
    main()
