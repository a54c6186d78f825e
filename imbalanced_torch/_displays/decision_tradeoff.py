"""What a threshold gains and what it costs: recall, precision, share and cost, with every decision marked."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from imbalanced_torch._displays import canvas
from imbalanced_torch._displays.responses import (
    Responses,
    check_both,
    classifier_of,
    positives_of,
    probabilities,
    responses_of,
)
from imbalanced_torch._displays.thresholds import as_thresholds, positions_of, prices_of, rates_at
from imbalanced_torch._parameters.sizes import check_share
from imbalanced_torch._parameters.values import labels_of

#: Rate, what it is called, colour and dashes.
_RATES = (
    ("recall", "recall", canvas.BLUE, "-"),
    ("precision", "precision", canvas.VERMILION, "--"),
    ("share", "share flagged", canvas.GREEN, "-."),
)
#: Where half the rows have less, thresholds are drawn on a logarithmic axis.
_LOW = 0.05
#: Of the width of the axes, between the names of two decisions.
_BETWEEN_NAMES = 0.055
_LONGEST = 26


class DecisionTradeoffDisplay:
    """Recall, precision, share of rows flagged, and cost, against the threshold on a probability.

    A row is flagged where its probability is at least the threshold. It is recommended to use `from_estimator` or
    `from_predictions` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    thresholds : array of shape (m,)
        Ascending.
    recall, precision, share : array of shape (m,)
        At each threshold.
    intervals : dict of arrays of shape (m, 2), default=None
        Of these by name, pointwise.
    cost : array of shape (m,), default=None
        Mean cost of a row.
    decisions : dict of float, default=None
        Thresholds by the name of the decision; NaN for one that is not reached, or flags all rows or none.
    pos_label : label, default=None
        The class that is flagged, for the axes' labels.
    n_rows : int, default=None
        Rows behind it.
    n_positives : int, default=None
        Those of the class.
    name : str, default=None
        Of the estimator; None shows none.

    Attributes
    ----------
    recall_line_, precision_line_, share_line_ : matplotlib Line2D
        The rates.
    recall_band_, precision_band_, share_band_ : matplotlib PolyCollection or None
        Their intervals.
    cost_line_ : matplotlib Line2D or None
        The cost.
    decision_lines_ : dict of matplotlib Line2D
        The decisions by name.
    ax_, cost_ax_ : matplotlib Axes
        The axes, and those of the cost, or None.
    figure_ : matplotlib Figure
        The figure.

    Notes
    -----
    The bands are pointwise: each is the exact interval (Clopper and Pearson 1934) at one threshold, with rows of
    unequal weight counted as so many of equal weight (Kish 1965). A threshold that was chosen by a look at the curve
    reaches a little less on new rows.

    Examples
    --------
    >>> display = DecisionTradeoffDisplay.from_predictions([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])  # doctest: +SKIP
    >>> [float(rate) for rate in display.recall]  # doctest: +SKIP
    [1.0, 1.0, 0.5, 0.5]
    """

    def __init__(
        self,
        thresholds: Any,
        recall: Any,
        precision: Any,
        share: Any,
        *,
        intervals: Any = None,
        cost: Any = None,
        decisions: Any = None,
        pos_label: Any = None,
        n_rows: int | None = None,
        n_positives: int | None = None,
        name: str | None = None,
    ) -> None:
        self.thresholds = thresholds
        self.recall = recall
        self.precision = precision
        self.share = share
        self.intervals = intervals
        self.cost = cost
        self.decisions = decisions
        self.pos_label = pos_label
        self.n_rows = n_rows
        self.n_positives = n_positives
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        decisions: list[Any] | None = None,
        decision_names: list[str] | None = None,
        costs: Any = None,
        confidence: float = 0.95,
        sample_weight: Any = None,
        pos_label: Any = None,
        name: str | None = None,
        ax: Any = None,
        xscale: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the trade-off on rows that the estimator has not been trained on.

        Parameters
        ----------
        estimator : classifier
            A fitted ImbalancedNetClassifier or a Pipeline that ends in one; with X and y any fitted classifier with
            `predict_proba`.
        X : array, table, CSR matrix, dict of arrays or torch Dataset, default=None
            Rows that the estimator has not been trained on; None takes those that its fit held out.
        y : array of shape (n,), default=None
            Their labels.
        decisions : list, default=None
            Values of `decision` of an ImbalancedNetClassifier to mark, where its `decision_report` has their
            thresholds; None is the estimator's own. Of two classes only.
        decision_names : list of str, default=None
            What they are called; None makes names of their values.
        costs : array, dict or callable, default=None
            What mistakes cost, as in `predict` of ImbalancedNetClassifier; of two classes only, and a function needs X.
        confidence : float in (0, 1), default=0.95
            Of the bands.
        sample_weight : array of shape (n,), default=None
            Weights of the rows of X.
        pos_label : label, default=None
            The class that is flagged, of any number of classes. None is the rarest, and `classes_[1]` of a classifier
            that does not know which that is.
        name : str, default=None
            Of the estimator, which stands under the axes; None is the name of its class.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        xscale : str, default=None
            Scale of the thresholds. None is "log" where half the rows are below .05, else "linear".
        **kwargs : dict
            Style of the rates, for matplotlib's `Line2D`.

        Returns
        -------
        DecisionTradeoffDisplay
            The display, drawn.

        Raises
        ------
        ValueError, TypeError
            If an argument is not what it must be, or without X and y no rows were held out.
        """
        canvas.check_matplotlib(f"{cls.__name__}.from_estimator")
        classifier = classifier_of(estimator)
        found = responses_of(estimator, X, y, sample_weight, pos_label)
        positions = positions_of(estimator, classifier, found, X, decisions, decision_names)
        display = cls._of(
            found.y == found.classes[found.code],
            found.proba[:, found.code].astype(float),
            found.weights,
            confidence=confidence,
            prices=None if costs is None else prices_of(costs, found, X),
            decisions=positions,
            pos_label=found.label,
            name=type(classifier).__name__ if name is None else name,
        )
        return display.plot(ax=ax, xscale=xscale, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: Any,
        *,
        decisions: Any = None,
        costs: Any = None,
        confidence: float = 0.95,
        sample_weight: Any = None,
        pos_label: Any = None,
        name: str | None = None,
        ax: Any = None,
        xscale: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the trade-off of probabilities.

        Parameters
        ----------
        y_true : array of shape (n,)
            Labels, of any number of classes.
        y_prob : array of shape (n,)
            Probabilities of the class that is flagged.
        decisions : dict of float, default=None
            Thresholds to mark, by name.
        costs : array or dict, default=None
            What mistakes cost: an array of shape (2, 2), true classes before predicted ones, or a nested dict {true:
            {predicted: cost}}; of two classes only.
        confidence : float in (0, 1), default=0.95
            Of the bands.
        sample_weight : array of shape (n,), default=None
            Weights of the rows.
        pos_label : label, default=None
            The class that is flagged. None is 1 for labels in {0, 1} and {-1, 1}; for others it must be given.
        name : str, default=None
            Of the predictions, which stands under the axes; None shows none.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        xscale : str, default=None
            Scale of the thresholds. None is "log" where half the rows are below .05, else "linear".
        **kwargs : dict
            Style of the rates, for matplotlib's `Line2D`.

        Returns
        -------
        DecisionTradeoffDisplay
            The display, drawn.

        Raises
        ------
        ValueError, TypeError
            If an argument is not what it must be, or the labels are of one kind only.
        """
        canvas.check_matplotlib(f"{cls.__name__}.from_predictions")
        positive, weights, pos_label = positives_of(y_true, pos_label, sample_weight)
        proba, prices = probabilities(y_prob, len(positive)), None
        if costs is not None:
            y = np.asarray(y_true).ravel()
            classes = np.unique(y)
            code = labels_of(classes).index(pos_label)
            prices = prices_of(costs, Responses(y, proba, weights, classes, code), None)
        display = cls._of(
            positive,
            proba,
            weights,
            confidence=confidence,
            prices=prices,
            decisions=as_thresholds(decisions),
            pos_label=pos_label,
            name=name,
        )
        return display.plot(ax=ax, xscale=xscale, **kwargs)

    @classmethod
    def _of(
        cls,
        positive: np.ndarray,
        proba: np.ndarray,
        weights: np.ndarray,
        *,
        confidence: float,
        prices: np.ndarray | None,
        decisions: dict[str, float],
        pos_label: Any,
        name: str | None,
    ) -> Self:
        check_both(positive[weights > 0], pos_label)
        value = check_share("confidence", confidence, ends="()")
        thresholds, rates, intervals, cost = rates_at(positive, proba, weights, value, prices)
        return cls(
            thresholds,
            **rates,
            intervals=intervals,
            cost=cost,
            decisions=decisions,
            pos_label=pos_label,
            n_rows=len(positive),
            n_positives=int(positive.sum()),
            name=name,
        )

    def plot(self, ax: Any = None, *, name: str | None = None, xscale: str | None = None, **kwargs: Any) -> Self:
        """Draw the trade-off.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Of the estimator; None is that of the display.
        xscale : str, default=None
            Scale of the thresholds. None is "log" where half the rows are below .05, else "linear".
        **kwargs : dict
            Style of the rates, for matplotlib's `Line2D`.

        Returns
        -------
        DecisionTradeoffDisplay
            The display, drawn.
        """
        self.ax_ = canvas.axes_of(self, ax)
        self.figure_ = self.ax_.figure
        for rate, label, color, dashes in _RATES:
            style = {"color": color, "linestyle": dashes, "label": label, "drawstyle": "steps-pre"}
            (line,) = self.ax_.plot(self.thresholds, getattr(self, rate), **canvas.styled("line", style, kwargs))
            band = None
            if self.intervals is not None:
                low, high = np.asarray(self.intervals[rate]).T
                band = self.ax_.fill_between(
                    self.thresholds, low, high, step="pre", color=line.get_color(), alpha=0.15, linewidth=0
                )
            setattr(self, f"{rate}_line_", line)
            setattr(self, f"{rate}_band_", band)
        self._scale(xscale)
        self._draw_cost()
        lines = [getattr(self, f"{rate}_line_") for rate, *_ in _RATES] + [self.cost_line_]
        handles = [line for line in lines if line is not None]
        handles += self._mark_decisions()
        meant = "" if self.pos_label is None else f" of {self.pos_label!r}"
        name = self.name if name is None else name
        rows = [] if self.n_rows is None else [f"{self.n_rows:,} rows, {self.n_positives:,}{meant}"]
        below = "\n".join(
            [f"Threshold on the probability{meant}", *filter(None, [": ".join(filter(None, [name, *rows]))])]
        )
        self.ax_.set(xlabel=below, ylabel="Rate", ylim=(-0.02, 1.02))
        canvas.legend_below(self.ax_, handles, columns=4, lines=1 + below.count("\n"))
        self.ax_.spines["top"].set_visible(False)
        self.ax_.spines["right"].set_visible(self.cost_ax_ is not None)
        return self

    def _scale(self, xscale: str | None) -> None:
        thresholds = np.asarray(self.thresholds, dtype=float)
        if xscale is None:
            # As many rows are below a threshold as are not flagged.
            half = thresholds[min(int(np.searchsorted(-np.asarray(self.share), -0.5)), len(thresholds) - 1)]
            xscale = "log" if half < _LOW else "linear"
        self.ax_.set_xscale(xscale)
        if xscale == "log":
            lowest = thresholds[thresholds > 0].min(initial=1e-3)
            self.ax_.set_xlim(max(lowest, 1e-6) * 0.9, 1.05)
        elif xscale == "linear":
            self.ax_.set_xlim(0, 1)

    def _draw_cost(self) -> None:
        self.cost_ax_ = self.cost_line_ = None
        if self.cost is None:
            return
        self.cost_ax_ = self.ax_.twinx()
        style = {"color": canvas.BLACK, "linestyle": (0, (1, 1)), "linewidth": 1.5}
        (self.cost_line_,) = self.cost_ax_.plot(
            self.thresholds, self.cost, drawstyle="steps-pre", label="cost (right)", **style
        )
        self.cost_ax_.set_ylabel("Mean cost of a row")
        self.cost_ax_.spines["top"].set_visible(False)

    def _mark_decisions(self) -> list[Any]:
        """Draw a line for each decision and its name above the axes, apart from others; return legend handles."""
        from matplotlib.lines import Line2D

        found = {name: x for name, x in (self.decisions or {}).items() if np.isfinite(x)}
        self.decision_lines_ = {
            name: self.ax_.axvline(x, color=canvas.GREY, linewidth=1, zorder=1) for name, x in found.items()
        }
        to_axes = self.ax_.transData + self.ax_.transAxes.inverted()
        at = np.array([to_axes.transform((x, 0))[0] for x in found.values()])
        for (name, x), place in zip(found.items(), _apart(at), strict=True):
            self.ax_.annotate(
                canvas.shortened(name, _LONGEST),
                **{"xy": (x, 1), "xycoords": self.ax_.get_xaxis_transform(), "textcoords": "axes fraction"},
                **{"xytext": (place, 1.05), "rotation": 40, "ha": "left", "va": "bottom", "fontsize": "small"},
                **{"rotation_mode": "anchor", "annotation_clip": False},
                arrowprops={
                    **{"arrowstyle": "-", "color": canvas.GREY, "linewidth": 1, "shrinkA": 0, "shrinkB": 0},
                    "relpos": (0, 0),  # from where the name begins
                },
            )
        missing = [name for name, x in (self.decisions or {}).items() if not np.isfinite(x)]
        return [Line2D([], [], linestyle="none", label=f"no threshold: {name}") for name in missing]


def _apart(at: np.ndarray) -> np.ndarray:
    """Return places near those given, in [0, 1] as far as there is room, no two of them close."""
    order = np.argsort(at, kind="stable")
    places = np.clip(at[order], 0, 1)
    for _ in range(2):
        for i in range(1, len(places)):
            places[i] = max(places[i], places[i - 1] + _BETWEEN_NAMES)
        beyond = places[-1] - 1 if len(places) else 0.0
        if beyond > 0:  # from the right end back
            places[-1] = 1.0
            for i in range(len(places) - 2, -1, -1):
                places[i] = min(places[i], places[i + 1] - _BETWEEN_NAMES)
    result = np.empty(len(at))
    result[order] = places
    return result
