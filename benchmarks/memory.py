"""How much memory a fit adds to X: the peak of a process of its own, on 1e7 rows of 20 columns in float32 (Linux).

python benchmarks/memory.py
python benchmarks/memory.py --quick     # 1e6 rows
"""

import argparse
import subprocess
import sys

import numpy as np
import torch

from imbalanced_torch import ImbalancedNetClassifier

FITS = {
    "sampling=None": {},
    'sampling="weighted"': {"sampling": "weighted"},
    'sampling="weighted", a validation split': {"sampling": "weighted", "early_stopping": True},
    'sampling="over"': {"sampling": "over"},
}


def kilobytes(field):
    """Return a field of the process's status, such as VmHWM, the peak, or VmRSS, the present size."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))


def measure(name, n):
    """Fit once; print the peak beyond what was there before, as a share of the size of X."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = np.empty((n, 20), dtype=np.float32)
    for part in np.array_split(X, 10):
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    y = (rng.random(n) < 0.05).astype(np.int64)
    kwargs = {"early_stopping": False, "batch_size": 8192, "max_epochs": 1, **FITS[name]}
    net = ImbalancedNetClassifier(**kwargs)
    net.fit(X[:2000], y[:2000])  # pays for imports
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    net.fit(X, y)
    print(f"{(kilobytes('VmHWM') - before) * 1024 / X.nbytes:.2f} of X: {name}", flush=True)


def main():
    """Run each fit in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fit", choices=FITS, help="run only this fit, in this process")
    arguments = parser.parse_args()
    if arguments.fit:
        measure(arguments.fit, 1_000_000 if arguments.quick else 10_000_000)
        return
    for name in FITS:
        subprocess.run([sys.executable, __file__, "--fit", name, *(["--quick"] * arguments.quick)], check=True)


if __name__ == "__main__":
    main()
