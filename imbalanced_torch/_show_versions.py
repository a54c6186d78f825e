"""What a report of a bug needs to say about the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from imbalanced_torch._version import __version__

_PACKAGES = ("torch", "skorch", "scikit-learn", "numpy", "scipy", "pandas", "polars", "accelerate", "safetensors")


def show_versions() -> None:
    """Print the versions of imbalanced-torch and what it works with, and what torch computes on.

    Examples
    --------
    >>> show_versions()  # doctest: +ELLIPSIS
    imbalanced-torch: ...
    """
    print(f"imbalanced-torch: {__version__}")
    print(f"python: {platform.python_version()} on {platform.platform()}, {os.cpu_count()} processors")
    for package in _PACKAGES:
        print(f"{package}: {_version_of(package)}")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(
        f"torch threads: {torch.get_num_threads()}, kernels: {torch.backends.cpu.get_cpu_capability()}, GPU: {device}"
    )


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
