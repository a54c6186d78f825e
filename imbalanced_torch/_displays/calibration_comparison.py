"""Whether probabilities are what they say: reliability curves before and after the correction of the prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from imbalanced_torch._displays import canvas
from imbalanced_torch._displays.responses import (
    check_both,
    fitted_net,
    positives_of,
    probabilities,
    responses_of,
)
from imbalanced_torch._parameters.values import listed
from imbalanced_torch._prediction.held_out import interval
from imbalanced_torch._prediction.prior import correctable, log_ratio, resolve_prior_correction

BEFORE, AFTER = "as trained", "prior-corrected"
_STYLES = (
    (canvas.VERMILION, "s", "--"),
    (canvas.BLUE, "o", "-"),
    (canvas.GREEN, "^", "-."),
    (canvas.PURPLE, "D", ":"),
    (canvas.ORANGE, "v", "-"),
)
_STRATEGIES = ("uniform", "quantile")
#: Of the room, for the rows in each bin.
_FOR_COUNTS = 0.26


class CalibrationComparisonDisplay:
    """Reliability curves of several predictions of the same rows, with the rows in each bin.

    A curve on the diagonal says what it means: of the rows of probability .3, three in ten are of the class. It is
    recommended to use `from_estimator`, which compares probabilities before and after the correction of the prior, or
    `from_predictions`. All parameters are stored as attributes.

    Parameters
    ----------
    prob_true : list of arrays of shape (n_bins,)
        For each prediction: the share of rows of the class in each bin that has rows.
    prob_pred : list of arrays of shape (n_bins,)
        The mean probability in each bin.
    counts : list of arrays of shape (n_bins,)
        Rows in each bin.
    bin_edges : list of arrays of shape (n_bins, 2)
        Where each bin begins and ends.
    intervals : list of arrays of shape (n_bins, 2), default=None
        In which the share lies, by bin; None draws none.
    names : list of str, default=None
        Of the predictions.
    pos_label : label, default=None
        The class, for the axes' labels.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The curves.
    bars_ : list of matplotlib LineCollection
        The intervals.
    counts_ : list of matplotlib Line2D
        The rows in each bin.
    ax_, counts_ax_ : matplotlib Axes
        The axes of the curves, and those of the counts.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> display = CalibrationComparisonDisplay.from_predictions(
    ...     [0, 0, 1, 1], {"one": [0.1, 0.2, 0.7, 0.9], "other": [0.4, 0.4, 0.6, 0.6]}, n_bins=2
    ... )  # doctest: +SKIP
    >>> [list(counts) for counts in display.counts]  # doctest: +SKIP
    [[2, 2], [2, 2]]
    """

    def __init__(
        self,
        prob_true: Any,
        prob_pred: Any,
        counts: Any,
        bin_edges: Any,
        *,
        intervals: Any = None,
        names: Any = None,
        pos_label: Any = None,
    ) -> None:
        self.prob_true = prob_true
        self.prob_pred = prob_pred
        self.counts = counts
        self.bin_edges = bin_edges
        self.intervals = intervals
        self.names = names
        self.pos_label = pos_label

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        n_bins: int = 10,
        strategy: str = "uniform",
        sample_weight: Any = None,
        pos_label: Any = None,
        name: str | None = None,
        ax: Any = None,
        ref_line: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Draw reliability curves of an estimator's probabilities, at the prior it was trained under and corrected.

        Parameters
        ----------
        estimator : ImbalancedNetClassifier or Pipeline
            The fitted estimator, or a Pipeline that ends in one.
        X : array, table, CSR matrix, dict of arrays or torch Dataset, default=None
            Rows that the estimator has not been trained on; None takes those that its fit held out.
        y : array of shape (n,), default=None
            Their labels.
        n_bins : int, default=10
            Bins at most.
        strategy : "uniform" or "quantile", default="uniform"
            Whether bins are equally wide, or hold equally many rows.
        sample_weight : array of shape (n,), default=None
            Weights of the rows of X.
        pos_label : label, default=None
            The class whose probability is judged, of any number of classes; None is the rarest.
        name : str, default=None
            Stands before the names of the curves; None puts nothing there.
        ax : matplotlib Axes or pair of these, default=None
            Where to draw: axes, whose room the counts share, or some for each. None makes a new figure.
        ref_line : bool, default=True
            Whether to draw the diagonal.
        **kwargs : dict
            Style of the curves, for matplotlib's `Line2D`.

        Returns
        -------
        CalibrationComparisonDisplay
            The display, drawn: "as trained" is at `effective_prior_`, "prior-corrected" at the prior that
            `prior_correction` names, `class_prior_` where it names none.

        Raises
        ------
        ValueError, TypeError
            If nothing can be corrected exactly, or an argument is not what it must be.
        """
        canvas.check_matplotlib(f"{cls.__name__}.from_estimator")
        net = fitted_net(estimator, cls.__name__)
        found = responses_of(estimator, X, y, sample_weight, pos_label)
        before, after = _carried(net, found.proba)
        start = "" if name is None else f"{name}, "
        check_both(found.y == found.classes[found.code], found.label)
        return cls.from_predictions(
            found.y,
            {f"{start}{BEFORE}": before[:, found.code], f"{start}{AFTER}": after[:, found.code]},
            n_bins=n_bins,
            strategy=strategy,
            sample_weight=found.weights,
            pos_label=found.label,
            ax=ax,
            ref_line=ref_line,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: Any,
        *,
        n_bins: int = 10,
        strategy: str = "uniform",
        sample_weight: Any = None,
        pos_label: Any = None,
        ax: Any = None,
        ref_line: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Draw reliability curves of predictions of the same rows.

        Parameters
        ----------
        y_true : array of shape (n,)
            Labels, of any number of classes.
        y_prob : dict of arrays of shape (n,)
            Probabilities of the class by the name of the prediction.
        n_bins : int, default=10
            Bins at most.
        strategy : "uniform" or "quantile", default="uniform"
            Whether bins are equally wide, or hold equally many rows.
        sample_weight : array of shape (n,), default=None
            Weights of the rows.
        pos_label : label, default=None
            The class. None is 1 for labels in {0, 1} and {-1, 1}; for others it must be given.
        ax : matplotlib Axes or pair of these, default=None
            Where to draw: axes, whose room the counts share, or some for each. None makes a new figure.
        ref_line : bool, default=True
            Whether to draw the diagonal.
        **kwargs : dict
            Style of the curves, for matplotlib's `Line2D`.

        Returns
        -------
        CalibrationComparisonDisplay
            The display, drawn.

        Raises
        ------
        ValueError, TypeError
            If an argument is not what it must be, or the labels are of one kind only.
        """
        canvas.check_matplotlib(f"{cls.__name__}.from_predictions")
        positive, weights, pos_label = positives_of(y_true, pos_label, sample_weight)
        if not isinstance(y_prob, Mapping) or not y_prob:
            raise TypeError("y_prob must be a dict from a name to the probabilities of the rows.")
        curves = [
            _curve(positive, probabilities(proba, len(positive), f"y_prob[{name!r}]"), weights, n_bins, strategy)
            for name, proba in y_prob.items()
        ]
        true, predicted, counts, edges, intervals = map(list, zip(*curves, strict=True))
        names = [str(name) for name in y_prob]
        display = cls(true, predicted, counts, edges, intervals=intervals, names=names, pos_label=pos_label)
        return display.plot(ax=ax, ref_line=ref_line, **kwargs)

    def plot(self, ax: Any = None, *, names: Any = None, ref_line: bool = True, **kwargs: Any) -> Self:
        """Draw the curves, and below them the rows in each bin.

        Parameters
        ----------
        ax : matplotlib Axes or pair of these, default=None
            Where to draw: axes, whose room the counts share, or some for each. None makes a new figure.
        names : list of str, default=None
            Of the predictions; None is those of the display.
        ref_line : bool, default=True
            Whether to draw the diagonal.
        **kwargs : dict
            Style of the curves, for matplotlib's `Line2D`.

        Returns
        -------
        CalibrationComparisonDisplay
            The display, drawn.
        """
        pair = isinstance(ax, list | tuple | np.ndarray)
        self.ax_ = canvas.axes_of(self, ax[0] if pair else ax)
        self.counts_ax_ = ax[1] if pair else canvas.split_off_below(self.ax_, _FOR_COUNTS)
        self.figure_ = self.ax_.figure
        names = self.names if names is None else names
        names = [None] * len(self.prob_true) if names is None else names
        if ref_line:
            self.ax_.plot([0, 1], [0, 1], color=canvas.GREY, linestyle=":", label="perfectly calibrated")
        self.lines_: list[Any] = []
        self.bars_: list[Any] = []
        self.counts_: list[Any] = []
        for index, name in enumerate(names):
            self._draw(index, name, kwargs)
        meant = "" if self.pos_label is None else f" of {self.pos_label!r}"
        self.ax_.set(ylabel=f"Share{meant} in the bin", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        canvas.legend_above(self.ax_, columns=3)
        self.counts_ax_.set(xlabel=f"Mean predicted probability{meant}", ylabel="Rows", yscale="log")
        self.counts_ax_.set_ylim(bottom=0.7)
        for axes in (self.ax_, self.counts_ax_):
            axes.spines[["top", "right"]].set_visible(False)
        return self

    def _draw(self, index: int, name: str | None, kwargs: dict[str, Any]) -> None:
        color, marker, dashes = _STYLES[index % len(_STYLES)]
        style = {"color": color, "marker": marker, "linestyle": dashes, "markersize": 5, "label": name}
        x, y = self.prob_pred[index], self.prob_true[index]
        self.lines_ += self.ax_.plot(x, y, **canvas.styled("line", style, kwargs))
        if self.intervals is not None:
            low, high = np.asarray(self.intervals[index]).T
            self.bars_.append(self.ax_.vlines(x, low, high, color=color, linewidth=1, alpha=0.6))
        # Below each point of the curve, so that bins of any width are read alike.
        self.counts_ax_.vlines(x, 0.1, self.counts[index], color=color, linestyle=dashes, linewidth=1.5)
        mark = {"color": color, "marker": marker, "linestyle": "none", "markersize": 5}
        self.counts_ += self.counts_ax_.plot(x, self.counts[index], **mark)


def _curve(
    positive: np.ndarray, proba: np.ndarray, weights: np.ndarray, n_bins: int, strategy: str
) -> tuple[np.ndarray, ...]:
    """Return share of the class, mean probability, rows, edges and intervals of each bin that has rows."""
    if strategy not in _STRATEGIES:
        raise ValueError(f"strategy must be one of {list(_STRATEGIES)}; it is {strategy!r}.")
    if isinstance(n_bins, bool) or not isinstance(n_bins, int | np.integer) or n_bins < 1:
        raise ValueError(f"n_bins must be an int of at least 1; it is {n_bins!r}.")
    grid = np.linspace(0, 1, n_bins + 1)
    edges = grid if strategy == "uniform" else np.percentile(proba, 100 * grid)
    bins = np.searchsorted(edges[1:-1], proba)
    total = np.bincount(bins, weights, minlength=n_bins)
    there = total > 0
    hits = np.bincount(bins, weights * positive, minlength=n_bins)[there] / total[there]
    means = np.bincount(bins, weights * proba, minlength=n_bins)[there] / total[there]
    # Rows of unequal weight say as much as so many of equal weight (Kish 1965).
    effective = total[there] ** 2 / np.bincount(bins, weights**2, minlength=n_bins)[there]
    intervals = np.array([interval(rate, n, 0.95) for rate, n in zip(hits, effective, strict=True)])
    counts = np.bincount(bins[weights > 0], minlength=n_bins)[there]
    return hits, means, counts, np.column_stack([edges[:-1], edges[1:]])[there], intervals


def _carried(net: Any, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities at the prior that the net was trained under, and at the one that they can be carried to."""
    trained, prior = net.effective_prior_, net.class_prior_
    present = resolve_prior_correction(net.prior_correction, prior, net.classes_)
    target = prior if present is None else present
    if not (net.net_.criterion_.exact and np.isfinite(trained).all()):
        raise ValueError(
            "CalibrationComparisonDisplay.from_estimator needs a criterion whose logits give exact probabilities, and "
            "a sampler whose draw is known; nothing can be corrected without. Use from_predictions."
        )
    if not correctable(trained, target):
        never = net.classes_[(trained == 0) & (target > 0)]
        raise ValueError(f"every class must have had a share in training; {listed(never)} had none.")
    if present is None:
        return proba, _at(proba, trained, target)
    return _at(proba, present, trained), proba


def _at(proba: np.ndarray, present: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Carry probabilities from one prior to another: p'_c ~ p_c target_c / present_c."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(proba.astype(float)) + log_ratio(present, target)
    log = np.where(np.isnan(log), -np.inf, log)
    carried = np.exp(log - log.max(axis=1, keepdims=True))
    return carried / carried.sum(axis=1, keepdims=True)
