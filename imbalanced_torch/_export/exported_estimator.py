"""The methods by which a fitted estimator becomes something to ship."""

from __future__ import annotations


class Exports:
    """A fitted classifier that can be written as a file, a graph or a model card."""
