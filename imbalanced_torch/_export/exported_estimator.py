"""The methods by which a fitted estimator becomes something to ship."""

from __future__ import annotations

import os
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from imbalanced_torch._export.model_card import make_card
from imbalanced_torch._export.onnx_graph import onnx_bytes
from imbalanced_torch._export.saved_model import load_model, save_model
from imbalanced_torch._persistence.files import check_targets, write


class Exports:
    """A fitted classifier that can be written as a file, a graph or a model card."""

    def save(self, path: Any) -> None:
        """Write the fitted estimator to one file, without pickle.

        The file is safetensors, with all that is no tensor as JSON in its header, under a checksum. It is written
        beside an old one and reaches the disk before that is replaced: a full disk or the end of the process leaves the
        old file or the new one. It holds the parameters and all that `fit` has learned, without the batches in the
        history and without the optimizer's state.

        Parameters
        ----------
        path : str or os.PathLike
            The file, which is replaced if it is there.

        Raises
        ------
        OSError, TypeError, ValueError
            If the path can't be written to, or if the module's state is not tensors alone.

        Warns
        -----
        UserWarning
            If parameters that act in training alone, such as `callbacks`, are nothing that JSON can hold: they are left
            out, and named.
        """
        check_is_fitted(self)
        save_model(self, path, stacklevel=2)

    @classmethod
    def load(cls, path: Any, *, device: Any = None, **parts: Any) -> Self:
        """Return the fitted estimator that `save` wrote; on the same machine it predicts the same, bit by bit.

        No code of the file's runs, for it holds none: torch's and this package's classes are looked up by name among
        those that are known, and a module or criterion of your own is handed over, as in `load(path, module=MyNet)`.
        `partial_fit` and `warm_start` go on from the weights with a new optimizer.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        device : str or torch.device, default=None
            Where the module goes. None is the device that it was on, or the CPU where that is missing.
        **parts
            By the names of parameters, what the file names but can't hold: `module`, `criterion`, their parameters,
            `decision`, and what `save` has left out.

        Returns
        -------
        Self
            The fitted classifier.

        Raises
        ------
        FileNotFoundError
            If the file is missing.
        ValueError, TypeError
            If the file is damaged, something else, of another class or of a format to come; or if a part is missing or
            another one than was saved.
        """
        return load_model(cls, path, device, parts)

    def model_card(self) -> Any:
        """Return a model card, filled with what the estimator knows of itself.

        It names classes with their sizes and priors, the strategy against imbalance, the settings of the training,
        scores on the rows that were held out (with intervals), what to beware of, and how to load the model. Scores of
        probabilities have intervals of a bootstrap by class; recall, precision and share of the decision have exact
        ones. Add your own words with `card.add(**{"Intended uses & limitations": "..."})`, and write it with
        `card.save("README.md")`.

        Returns
        -------
        skops.card.Card
            The card.

        Raises
        ------
        ImportError
            If skops is missing: pip install 'imbalanced-torch[card]'.
        ValueError, TypeError
            If `decision` or `prior_correction` are not what they must be.
        """
        check_is_fitted(self)
        return make_card(self)

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
