"""What one fit learns from: rows and classes, checked, and the rows that are held out of training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from imbalanced_torch._data.checks import check_sample_weight, check_X, check_y, encode
from imbalanced_torch._data.rows import Rows, check_fits, class_counts, is_matrix, resolve_dtype, row_shape
from imbalanced_torch._data.validation_split import split_by_callable, stratified_split
from imbalanced_torch._group.agreement import (
    agree_on_values,
    agree_on_X,
    agreed_dtype,
    agreed_labels,
    warn_of_the_same_rows,
)
from imbalanced_torch._group.processes import ALONE, Group, same
from imbalanced_torch._parameters.values import listed

#: early_stopping="auto" holds rows out where so many of the rarest class come to each part.
_ENOUGH_ROWS = 9.5
#: A column of a larger standard deviation, or as far from 0 as ten times that, over so many rows, is unscaled.
_LARGE, _SAMPLED = 30.0, 1000
#: Fitted attributes that say what X is like.
COLUMNS = ("n_features_in_", "feature_names_in_", "columns_", "row_shape_")


@dataclass(frozen=True)
class TrainingData:
    """The rows of one fit.

    Parameters
    ----------
    classes : array of shape (K,)
        The labels, sorted.
    training : Rows
    validation : Rows or None
        Rows that are held out.
    stops_early : bool
        Whether training stops on these.
    columns : mapping
        Fitted attributes that say what X is like.
    group : Group
        The processes whose rows these are a part of.
    """

    classes: np.ndarray
    training: Rows
    validation: Rows | None
    stops_early: bool
    columns: Mapping[str, Any]
    group: Group = ALONE

    @property
    def n_levels(self) -> np.ndarray | None:
        """Levels of each column that is a category, 0 of numbers, shape (d,); None where X is no table."""
        columns = self.columns.get("columns_")
        return None if columns is None else columns.n_levels

    def named(self) -> dict[str, Any] | None:
        """Return what the net learns from, by the names that users know; None where X is a Dataset, which may vary."""
        rows, parts = self.training, [part for part in (self.training, self.validation) if part is not None]
        if row_shape(rows.source) is None:
            return None
        return {
            "X": [rows.source, self.columns],
            "y": [self.classes, [part.codes for part in parts]],
            "sample_weight": [part.sample_weight for part in parts],
            "train_split": [(part.index, None if part.source is rows.source else part.source) for part in parts],
        }

    def log_loss(self, proba: np.ndarray) -> float:
        """Return the log loss, weighted as the training rows are, of probabilities of all rows, shape (n, K)."""
        rows: Any = self.training
        of_truth = proba[slice(None) if rows.index is None else rows.index][np.arange(len(rows)), rows.codes]
        losses = np.log(of_truth.clip(1e-15), dtype=float)
        mean = np.average(losses, weights=rows.sample_weight)
        if not self.group.alone:
            weights = np.ones(len(rows)) if rows.sample_weight is None else rows.sample_weight.astype(float)
            mean = np.divide(*self.group.sum(np.array([weights @ losses, weights.sum()])))
        return 0.0 - float(mean)  # 0 is not -0


def read_training_data(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    classes: np.ndarray | None,
    net: Any,
    split_seed: int,
    group: Group = ALONE,
    *,
    single_epoch: bool,
) -> TrainingData:
    """Check what the user passes to `fit`, and set rows aside. Nothing is written to the estimator.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    X, y, sample_weight : as in `fit`
    classes : array of shape (K,) or None
        The labels that there are: of the fit that is gone on with, or of all calls of `partial_fit`.
    net : ImbalancedNet or None
        The net that goes on, whose columns and dtype these rows must have.
    split_seed : int
        Seeds which rows are held out.
    group : Group
        The processes that fit together, each with its own rows.
    single_epoch : bool
        Whether this is a call of `partial_fit`, whose y may lack classes and from which no rows are held out.
    """
    agree_on_X(group, X, sample_weight)
    seen = object.__new__(type(estimator))  # on which scikit-learn's checks write what they find of the columns
    vars(seen).update(vars(estimator))
    X = check_X(seen, X, reset=net is None, finite=estimator._finite(), encodes=estimator._takes_tables(), group=group)
    y = check_y(seen, y, X)
    weights = check_sample_weight(sample_weight, len(y), group)
    agree_on_values(group, X, vars(seen))
    warn_of_the_same_rows(group, X, y)
    classes = _check_classes(y, classes, whole=not single_epoch, group=group)
    kept = None
    if weights is not None and not weights.all():  # rows of weight 0 leave the loss and the draw; their classes stay
        kept = np.flatnonzero(weights)
        y, weights = y[kept], weights[kept]
    rows = Rows(
        X, kept, encode(y, classes, "classes"), weights, collate=estimator._part("iterator_train").get("collate_fn")
    )
    dtype = resolve_dtype(estimator.dtype, rows, estimator.device) if net is None else net.dtype
    rows = rows.converted(agreed_dtype(group, dtype, is_table="columns_" in vars(seen)))
    check_fits(X, rows.dtype, getattr(seen, "feature_names_in_", None))
    stops_early = not single_epoch and _stops_early(estimator, rows, len(classes), group)
    training, validation = rows, None
    if not single_epoch:
        training, validation = _split(seen, rows, y, classes, split_seed, stops_early, group)
        _check_counts(training, rows, classes, group)
    columns = {name: vars(seen)[name] for name in COLUMNS if name in vars(seen)}
    return TrainingData(classes, training, validation, stops_early, columns, group)


def _check_classes(y: np.ndarray, classes: np.ndarray | None, whole: bool, group: Group) -> np.ndarray:
    """Return the labels, sorted: those of y on all processes, or those given before."""
    if classes is None or whole:
        found = np.unique(y)
        if y.dtype.kind in "iu" and len(found) > len(y) / 2:  # other labels were looked at before
            check_classification_targets(y)  # warns that y may be a regression's
        found = agreed_labels(group, found)
        if classes is not None and not np.array_equal(found, classes):
            raise ValueError(
                f"warm_start needs the classes of the first fit, {listed(classes)}; y has {listed(found)}."
            )
        classes = found
    if len(classes) < 2:
        raise ValueError(f"y must have at least two classes to tell apart; it has one class: {listed(classes)}.")
    return classes


def _stops_early(estimator: Any, rows: Rows, n_classes: int, group: Group) -> bool:
    if isinstance(estimator.callbacks, str) and estimator.callbacks == "disable":
        return False
    early_stopping = estimator.early_stopping
    if not isinstance(early_stopping, str):
        return bool(early_stopping)
    if holds_out_folds(estimator, rows):
        return True
    # Both parts must say something of the rarest class.
    counts = group.sum(class_counts(rows.codes, n_classes))  # type: ignore[arg-type]
    rarest = counts[counts > 0].min()
    return bool(rarest * min(estimator.validation_fraction, 1 - estimator.validation_fraction) >= _ENOUGH_ROWS)


def holds_out_folds(estimator: Any, rows: Rows) -> bool:
    """Whether this is the default net, whose members hold out a fold each."""
    return bool(estimator._takes_tables() and is_matrix(rows.source))


def _split(
    estimator: Any, rows: Rows, y: np.ndarray, classes: np.ndarray, seed: int, stops_early: bool, group: Group
) -> tuple[Rows, Rows | None]:
    """Return the rows to train on, and those that are held out."""
    if estimator.train_split is not None:

        def make_rows(X: Any, labels: Any) -> Rows:
            X = check_X(estimator, X, reset=False, finite=estimator._finite())
            check_fits(X, rows.dtype, getattr(estimator, "feature_names_in_", None))
            codes = encode(check_y(estimator, labels, X), classes, "the training data")
            return Rows(X, codes=codes, dtype=rows.dtype)

        positions, validation = split_by_callable(estimator.train_split, rows, y, make_rows)
        if stops_early and validation is None:
            raise ValueError("train_split holds out no rows, but early stopping needs some; set early_stopping=False.")
    elif stops_early and not holds_out_folds(estimator, rows):
        fraction, rng = float(estimator.validation_fraction), np.random.RandomState(seed)
        positions, held_out = stratified_split(rows.codes, fraction, rng, group, len(classes))  # type: ignore[arg-type]
        validation = rows.part(held_out)
    else:
        return rows, None
    same(group, "whether train_split holds rows out", validation is not None)
    if validation is None or validation.sample_weight is None:
        return rows.part(positions), validation
    mean = None
    if not group.alone:
        mean = np.divide(*group.sum(np.array([float(validation.sample_weight.sum()), len(validation)])))
    return rows.part(positions), validation.weighing_one(mean)


def warn_of_scales(rows: Rows, names: Any, stacklevel: int) -> None:
    """Warn of columns far from unit scale, from which a net that does not scale them itself learns little.

    Parameters
    ----------
    rows : Rows
        The training rows.
    names : array of shape (n_features,) or None
        Of the columns.
    stacklevel : int
        Of the warning.
    """
    X = rows.source
    if not (isinstance(X, np.ndarray) and X.ndim == 2 and (rows.dtype is None or rows.dtype.is_floating_point)):
        return
    some = X[:: max(1, len(X) // _SAMPLED)]
    if some.dtype.kind != "f" and rows.dtype is None:  # ints for embeddings
        return
    with np.errstate(over="ignore"):
        center, spread = some.mean(axis=0, dtype=float), some.std(axis=0, dtype=float)
    large = np.flatnonzero((spread > _LARGE) | (np.abs(center) > 10 * _LARGE))
    if len(large):
        which = [names[j] for j in large] if names is not None else large.tolist()
        warnings.warn(
            f"columns of X should have about unit scale, and these are far from it: {listed(which)} (standard "
            f"deviations up to {spread.max():.3g}, means up to {np.abs(center).max():.3g}). Put StandardScaler before "
            "the net, or use the default net (module=None), which scales by itself.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def _check_counts(training: Rows, rows: Rows, classes: np.ndarray, group: Group) -> None:
    """Check the rows of each class to train on against those of positive weight."""
    if not group.alone and not len(training):
        raise ValueError("each process of a group must have a row of positive weight to train on; this one has none.")
    counts, weighted = (group.sum(class_counts(part.codes, len(classes))) for part in (training, rows))  # type: ignore[arg-type]
    lost = (counts == 0) & (weighted > 0)
    if lost.any():
        raise ValueError(f"train_split leaves no row to train on for the classes {listed(classes[lost])}.")
    if (weighted > 0).sum() == 1:
        warnings.warn(
            f"sample_weight is positive in rows of one class only, {listed(classes[weighted > 0])} of "
            f"{listed(classes)}: the net learns to predict that class for every row.",
            UserWarning,
            stacklevel=5,  # the caller of `fit`
        )
