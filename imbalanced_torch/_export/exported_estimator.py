"""The methods by which a fitted estimator becomes something to ship."""

from __future__ import annotations

import os
from typing import Any

from sklearn.utils.validation import check_is_fitted

from imbalanced_torch._export.onnx_graph import onnx_bytes
from imbalanced_torch._persistence.files import check_targets, write


class Exports:
    """A fitted classifier that can be written as a file, a graph or a model card."""

    def to_onnx(self, path: str | os.PathLike[str], X: Any = None) -> None:
        """Write the fitted estimator as one ONNX graph, from raw rows to labels and probabilities.

        The graph encodes columns, runs the net, averages its members, corrects the prior and decides as
        `prior_correction` and `decision` say now. For float32 rows its `probabilities` are those of `predict_proba` but
        for rounding, and its `label` is what `predict` returns. The number of rows is free. An array is one input "X",
        float32; the arrays of a dict are inputs by name; each column of a table of the default net is an input of its
        own of shape (n, 1), named as the column. The file is written beside the old one and put in its place.

        Parameters
        ----------
        path : str, path or file open for writing
            Where to write.
        X : array, table, dict of arrays or torch Dataset, default=None
            A few rows as in `fit`. They are needed with dtype=None or a Dataset, where they tell the types and shapes
            that the net takes.

        Raises
        ------
        ImportError
            If onnx or onnxscript are not installed: `pip install "imbalanced-torch[onnx]"`.
        ValueError, TypeError
            If the module, the decision, the labels or the levels of a category can't be in a graph, or if X is needed.
        OSError
            If the file can't be written.
        """
        check_is_fitted(self)
        check_targets({"path": path})
        graph = onnx_bytes(self, X)
        write({"path": path}, lambda _: graph)
