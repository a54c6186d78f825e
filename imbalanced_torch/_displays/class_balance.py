"""Class shares on the way from the data to the probabilities: drawn class by class."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from imbalanced_torch._displays import canvas
from imbalanced_torch._displays.responses import fitted_net
from imbalanced_torch._parameters.values import labels_of
from imbalanced_torch._prediction.prior import resolve_prior_correction

#: Attribute, what it is called, colour and marker, in the order of the way.
_STAGES = (
    ("class_prior", "in the data", canvas.BLACK, "o"),
    ("sampled_prior", "shown to the net", canvas.BLUE, "s"),
    ("effective_prior", "learned under", canvas.VERMILION, "^"),
    ("target_prior", "of predict_proba", canvas.GREEN, "D"),
)
#: Shares that differ so much are drawn on a logarithmic axis.
_WIDE = 100
#: With more classes there is no room for numbers.
_WITH_NUMBERS = 6
_LONGEST = 24


class ClassBalanceDisplay:
    """Class shares in the data, as the net is shown them, as it learns under them, and of its probabilities.

    It is recommended to use `from_estimator` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    class_prior : array of shape (K,)
        Shares in the training rows, by `sample_weight`.
    sampled_prior : array of shape (K,)
        Shares of the rows that the net is shown.
    effective_prior : array of shape (K,)
        Shares that the net learns under: sampled shares times weights.
    target_prior : array of shape (K,)
        Shares that `predict_proba` is at.
    classes : array of shape (K,)
        Labels.
    counts : array of shape (K,), default=None
        Training rows of each class; None shows none.
    name : str, default=None
        Title; None is none.

    Attributes
    ----------
    points_ : list of matplotlib Line2D
        The shares of each of the four stages.
    texts_ : list of matplotlib Text
        Their numbers, where there is room.
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> display = ClassBalanceDisplay([0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1], classes=["ok", "fraud"])
    >>> len(display.plot().points_)  # doctest: +SKIP
    4
    """

    def __init__(
        self,
        class_prior: Any,
        sampled_prior: Any,
        effective_prior: Any,
        target_prior: Any,
        *,
        classes: Any,
        counts: Any = None,
        name: str | None = None,
    ) -> None:
        self.class_prior = class_prior
        self.sampled_prior = sampled_prior
        self.effective_prior = effective_prior
        self.target_prior = target_prior
        self.classes = classes
        self.counts = counts
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, scale: str | None = None, **kwargs: Any
    ) -> Self:
        """Draw the class shares that a fitted estimator has found and made.

        Parameters
        ----------
        estimator : ImbalancedNetClassifier or Pipeline
            The fitted estimator, or a Pipeline that ends in one.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure, which grows with the number of classes.
        name : str, default=None
            Title; None is the name of the class.
        scale : "linear" or "log", default=None
            Of the shares. None is "log" where they differ by 100 times or more.
        **kwargs : dict
            Style of the points, for matplotlib's `Line2D`.

        Returns
        -------
        ClassBalanceDisplay
            The display, drawn.
        """
        canvas.check_matplotlib(f"{cls.__name__}.from_estimator")
        net = fitted_net(estimator, cls.__name__)
        target = resolve_prior_correction(net.prior_correction, net.class_prior_, net.classes_)
        display = cls(
            net.class_prior_,
            net.sampled_prior_,
            net.effective_prior_,
            net.effective_prior_ if target is None else target,
            classes=net.classes_,
            counts=net.class_priors_.population,
            name=type(net).__name__ if name is None else name,
        )
        return display.plot(ax=ax, scale=scale, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, scale: str | None = None, **kwargs: Any) -> Self:
        """Draw the shares, the most frequent class on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure, which grows with the number of classes.
        name : str, default=None
            Title; None is that of the display.
        scale : "linear" or "log", default=None
            Of the shares. None is "log" where they differ by 100 times or more.
        **kwargs : dict
            Style of the points, for matplotlib's `Line2D`.

        Returns
        -------
        ClassBalanceDisplay
            The display, drawn.
        """
        labels, shares = labels_of(np.asarray(self.classes)), self._shares()
        n_classes = len(labels)
        self.ax_ = canvas.axes_of(self, ax, figsize=(6.4, max(4.8, 1.4 + 0.24 * n_classes)))
        self.figure_ = self.ax_.figure
        order = np.argsort(-np.asarray(self.class_prior), kind="stable")
        places = np.empty(n_classes)
        places[order] = np.arange(n_classes)
        scale = self._scale(shares) if scale is None else scale
        step = 0.19 if n_classes <= _WITH_NUMBERS else 0.22
        size = 7 if n_classes <= _WITH_NUMBERS else 3.5
        self.points_, self.texts_ = [], []
        for stage, (values, (_, label, color, marker)) in enumerate(zip(shares, _STAGES, strict=True)):
            label += "" if np.isfinite(values).all() else " (unknown)"
            style = {"color": color, "marker": marker, "linestyle": "none", "markersize": size, "label": label}
            heights = places + (stage - 1.5) * step
            visible = np.where(values > 0, values, np.nan) if scale == "log" else values
            self.points_ += self.ax_.plot(visible, heights, **canvas.styled("line", style, kwargs), zorder=3)
            if scale == "linear":
                self.ax_.hlines(heights, 0, visible, color=color, linewidth=1, alpha=0.5)
            if n_classes <= _WITH_NUMBERS:
                self.texts_ += [self._number(x, y) for x, y in zip(visible, heights, strict=True) if np.isfinite(x)]
        self._finish(labels, places, scale, name)
        return self

    def _shares(self) -> np.ndarray:
        return np.array([np.asarray(getattr(self, attribute), dtype=float) for attribute, *_ in _STAGES])

    @staticmethod
    def _scale(shares: np.ndarray) -> str:
        there = shares[shares > 0]
        return "log" if there.max() >= _WIDE * there.min() else "linear"

    def _number(self, x: float, y: float) -> Any:
        place = {"xytext": (7, 0), "textcoords": "offset points", "va": "center_baseline", "fontsize": "small"}
        return self.ax_.annotate(f"{x:.3g}" if x < 0.9995 else "1", (x, y), **place)

    def _finish(self, labels: list[Any], places: np.ndarray, scale: str, name: str | None) -> None:
        """Set the scale, names with counts, the legend and the title."""
        names = [canvas.shortened(str(label), _LONGEST) for label in labels]
        if self.counts is not None:
            separator = "\n" if len(labels) <= _WITH_NUMBERS else "  "
            names = [f"{text}{separator}n = {_count(n)}" for text, n in zip(names, self.counts, strict=True)]
        small = "small" if len(labels) > _WITH_NUMBERS else "medium"
        self.ax_.set_xscale(scale)
        if scale == "linear":
            self.ax_.set_xlim(left=0)
        self.ax_.margins(x=0.12)
        self.ax_.set_yticks(places, names, fontsize=small)
        self.ax_.set_ylim(len(labels) - 0.5, -0.5)
        self.ax_.set_xlabel("Share of the rows" + (" (log scale)" if scale == "log" else ""))
        self.ax_.set_ylabel("Class")
        for between in range(1, len(labels)):
            self.ax_.axhline(between - 0.5, color="0.85", linewidth=0.8, zorder=0)
        canvas.legend_above(self.ax_, columns=4)
        name = self.name if name is None else name
        if name is not None:
            self.ax_.set_title(name, pad=26)
        self.ax_.spines[["top", "right"]].set_visible(False)


def _count(rows: float) -> str:
    """Return a number of rows, which sample weights may make a fraction."""
    return f"{rows:,.0f}" if float(rows).is_integer() else f"{rows:,.4g}"
