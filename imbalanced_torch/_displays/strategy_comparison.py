"""Which strategy gains what, over the same folds: scores of a search beside the plain net and its moved threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from imbalanced_torch._displays import canvas
from imbalanced_torch._parameters.values import did_you_mean, equal_values, listed

#: What a plain net has none of, and the decisions that leave its threshold alone.
_REMEDIES = ("class_weight", "sampling", "criterion", "schedule")
_UNMOVED = (None, "trained", "argmax")
_LONGEST = 36
_LONGEST_IN_LEGEND = 24
#: In points, of the marks of one fold and of the mean.
_FOLD, _MEAN = 3.0, 6.0


class StrategyComparisonDisplay:
    """Scores of several strategies over the same folds, as differences from the plain net's in each fold.

    Folds differ more than strategies do: what a strategy gains is seen when each fold is compared with itself. A line
    stands at the plain net, and another one at the plain net with its threshold moved, which costs no training. It is
    recommended to use `from_cv_results` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    scores : dict of arrays of shape (n_strategies, n_folds)
        By the name of the score; more is better.
    names : list of str
        Of the strategies.
    reference : int, default=None
        The strategy that others are compared with; None shows the scores themselves.
    moved : int, default=None
        The same with its threshold moved.

    Attributes
    ----------
    means_ : list of matplotlib Line2D
        Mean over the folds and standard deviation, for each score.
    folds_ : list of matplotlib Line2D
        The folds, for each score.
    reference_lines_, moved_lines_ : list of matplotlib Line2D
        Where the references are, for each score.
    axes_ : array of matplotlib Axes
        One for each score.
    ax_ : matplotlib Axes
        The first of these.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> scores = {"f1": np.array([[0.4, 0.5], [0.5, 0.6]])}
    >>> StrategyComparisonDisplay(scores, ["plain", "balanced"], reference=0).differences["f1"].round(3).tolist()
    [[0.0, 0.0], [0.1, 0.1]]
    """

    def __init__(self, scores: Any, names: Any, *, reference: int | None = None, moved: int | None = None) -> None:
        self.scores = scores
        self.names = names
        self.reference = reference
        self.moved = moved

    @property
    def differences(self) -> dict[str, np.ndarray]:
        """Scores less the reference's of the same fold, by the name of the score; without a reference the scores."""
        scores = {name: np.asarray(values, dtype=float) for name, values in self.scores.items()}
        if self.reference is None:
            return scores
        return {name: values - values[self.reference] for name, values in scores.items()}

    @classmethod
    def from_cv_results(
        cls,
        cv_results: Any,
        *,
        scores: list[str] | None = None,
        names: list[str] | Callable[[dict[str, Any]], str] | None = None,
        reference: Any = "auto",
        moved: Any = "auto",
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the results of a search over strategies.

        Parameters
        ----------
        cv_results : dict
            `cv_results_` of GridSearchCV or another search that tries every candidate on the same folds.
        scores : list of str, default=None
            Which scores; None takes all.
        names : list of str or callable, default=None
            Names of the candidates, or a function from parameters to a name. None makes them of what differs.
        reference : int, dict or None, default="auto"
            The candidate that others are compared with, by its position or parameters; None shows the scores
            themselves. "auto" is the plain one, whose parameters name neither `class_weight`, `sampling`, `criterion`
            nor `schedule`, if there is one.
        moved : int, dict or None, default="auto"
            The candidate that a second line stands at. "auto" is the plain one with `decision="balanced"`, else the
            first plain one with another decision.
        ax : matplotlib Axes or array of these, default=None
            Where to draw: axes for each score, or some whose room they share, without a legend then. None makes a new
            figure.
        **kwargs : dict
            Style of the means, for matplotlib's `Line2D`.

        Returns
        -------
        StrategyComparisonDisplay
            The display, drawn.

        Raises
        ------
        ValueError, TypeError
            If `cv_results` has no such scores or candidates, or their folds are not the same.
        """
        canvas.check_matplotlib(f"{cls.__name__}.from_cv_results")
        if not isinstance(cv_results, Mapping) or "params" not in cv_results:
            raise TypeError("cv_results must be the cv_results_ of a search: a dict with params and scores by split.")
        if len(np.unique(cv_results.get("n_resources", [0]))) > 1:
            raise ValueError(
                "cv_results must have every candidate on the same folds; those of successive halving are tried on "
                "samples of several sizes. Select one iteration, or search with GridSearchCV."
            )
        params = list(cv_results["params"])
        found = _scores(cv_results, scores)
        plain, other = _references(params)
        display = cls(
            found,
            _names(params, names, plain, other),
            reference=_position(reference, params, plain, "reference"),
            moved=_position(moved, params, other, "moved"),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, names: Any = None, **kwargs: Any) -> Self:
        """Draw a panel for each score.

        Parameters
        ----------
        ax : matplotlib Axes or array of these, default=None
            Where to draw: axes for each score, or some whose room they share, without a legend then. None makes a new
            figure.
        names : list of str, default=None
            Of the strategies; None is those of the display.
        **kwargs : dict
            Style of the means, for matplotlib's `Line2D`.

        Returns
        -------
        StrategyComparisonDisplay
            The display, drawn.
        """
        names = list(self.names if names is None else names)
        self.axes_ = self._axes(ax, len(names))
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        self.means_: list[Any] = []
        self.folds_: list[Any] = []
        self.reference_lines_: list[Any] = []
        self.moved_lines_: list[Any] = []
        for axes, (score, values) in zip(self.axes_, self.differences.items(), strict=True):
            self._draw(axes, score, values, kwargs)
        for axes in self.axes_[1:]:
            axes.tick_params(labelleft=False)
        shown = [canvas.shortened(name, _LONGEST) for name in names]
        self.ax_.set_yticks(range(len(names)), shown, fontsize="small" if len(names) > 12 else "medium")
        self._legend(of_figure=ax is None, shared=not isinstance(ax, list | tuple | np.ndarray))
        return self

    def _axes(self, ax: Any, n_names: int) -> np.ndarray:
        n_scores = len(self.scores)
        if isinstance(ax, list | tuple | np.ndarray):
            canvas.check_matplotlib(f"{type(self).__name__}.plot")
            axes = np.ravel(np.asarray(ax, dtype=object))
            if len(axes) != n_scores:
                raise ValueError(f"ax must be one Axes, or one for each of the {n_scores} scores; it has {len(axes)}.")
            return axes
        size = (max(6.4, 2.6 + 2.1 * n_scores), max(4.8, 1.8 + 0.28 * n_names))
        ax = canvas.axes_of(self, ax, figsize=size)
        if n_scores == 1:
            return np.array([ax], dtype=object)
        spec, figure = ax.get_subplotspec(), ax.figure
        if spec is None:
            raise ValueError(f"ax must come from subplots to be shared by {n_scores} scores; pass one for each.")
        cells = spec.subgridspec(1, n_scores)
        ax.remove()
        first = figure.add_subplot(cells[0])
        others = [figure.add_subplot(cells[i], sharey=first) for i in range(1, n_scores)]
        return np.array([first, *others], dtype=object)

    def _draw(self, axes: Any, score: str, values: np.ndarray, kwargs: dict[str, Any]) -> None:
        n_names, n_folds = values.shape
        places = np.arange(n_names)
        known = np.isfinite(values)
        counts = np.maximum(known.sum(axis=1), 1)
        means = np.where(known.any(axis=1), np.where(known, values, 0).sum(axis=1) / counts, np.nan)
        spread = np.sqrt(np.where(known, np.square(values - means[:, None]), 0).sum(axis=1) / counts)
        folds = axes.plot(
            values.ravel(),
            np.repeat(places, n_folds),
            **{"linestyle": "none", "marker": "|", "markersize": _FOLD * 2, "color": canvas.GREY, "zorder": 2},
            label="each fold",
        )
        label = "mean, standard deviation"
        if self.reference is not None:
            label = "mean difference, standard deviation"
        style = {"color": canvas.BLUE, "marker": "o", "markersize": _MEAN, "linestyle": "none", "label": label}
        self.folds_ += folds
        axes.hlines(places, means - spread, means + spread, color=canvas.BLUE, linewidth=2, alpha=0.6, zorder=3)
        self.means_ += axes.plot(means, places, **canvas.styled("line", style, kwargs), zorder=4)
        for which, lines, color, dashes, text in (
            (self.reference, self.reference_lines_, canvas.BLACK, "-", "reference"),
            (self.moved, self.moved_lines_, canvas.VERMILION, "--", "threshold moved"),
        ):
            if which is not None:
                label = f"{text}: {canvas.shortened(self.names[which], _LONGEST_IN_LEGEND)}"
                style = {"color": color, "linestyle": dashes, "linewidth": 1, "zorder": 1, "label": label}
                lines.append(axes.axvline(means[which], **style))
        axes.set_title(score.replace("_", " "), fontsize="medium")
        if self.reference is not None:
            mean = np.nanmean(np.asarray(self.scores[score], dtype=float)[self.reference])
            axes.set_xlabel(f"difference from {mean:.3f}", fontsize="small")
        axes.set_ylim(n_names - 0.5, -0.5)
        axes.xaxis.get_major_locator().set_params(nbins=4)
        axes.tick_params(axis="x", labelsize="small")
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)

    def _legend(self, of_figure: bool, shared: bool) -> None:
        lines = [*self.reference_lines_[:1], *self.moved_lines_[:1]]
        if of_figure:
            place = {"loc": "outside lower center", "ncols": 2, "frameon": False}
            self.figure_.legend(handles=[*self.folds_[:1], *self.means_[:1], *lines], fontsize="small", **place)
        elif lines and (len(self.axes_) == 1 or not shared):  # the room around belongs to others
            self.axes_[-1].legend(handles=lines, loc="best", fontsize="x-small").set_in_layout(False)


def _scores(cv_results: Mapping[str, Any], wanted: list[str] | None) -> dict[str, np.ndarray]:
    """Return scores by fold, shape (n_candidates, n_folds), by name."""
    there = [key.removeprefix("mean_test_") for key in cv_results if key.startswith("mean_test_")]
    for name in there if wanted is None else wanted:
        if name not in there:
            raise ValueError(
                f"scores must be in cv_results, {listed(there)}; {name!r} is not.{did_you_mean(name, there)}"
            )
    found = {}
    for name in there if wanted is None else wanted:
        keys: list[str] = []
        while f"split{len(keys)}_test_{name}" in cv_results:
            keys.append(f"split{len(keys)}_test_{name}")
        if not keys:
            raise ValueError(f"cv_results must have the scores of each split; it has none of {name!r}.")
        found[name] = np.column_stack([np.asarray(cv_results[key], dtype=float) for key in keys])
    if not found:
        raise ValueError("cv_results must have scores, mean_test_*; it has none.")
    return found


def _last(name: str) -> str:
    """Return the name of a parameter without the steps before it: `net__sampling` is `sampling`."""
    parts = name.split("__")
    known = [i for i, part in enumerate(parts) if part in (*_REMEDIES, "decision", "prior_correction")]
    return "__".join(parts[known[0] :]) if known else name


def _references(params: list[dict[str, Any]]) -> tuple[int | None, int | None]:
    """Return the positions of the plain candidate and of the plain one with another decision."""
    plain, moved, balanced = None, None, None
    for position, given in enumerate(params):
        own = {_last(name): value for name, value in given.items()}
        remedies = [value for name, value in own.items() if name.partition("__")[0] in _REMEDIES]
        if any(value is not None for value in remedies) or not _mentions(own):
            continue
        decision = own.get("decision")
        unmoved = decision is None or (isinstance(decision, str) and decision in _UNMOVED)
        if unmoved:
            plain = position if plain is None else plain
        elif isinstance(decision, str) and decision == "balanced":
            balanced = position if balanced is None else balanced
        else:
            moved = position if moved is None else moved
    return plain, moved if balanced is None else balanced


def _equal(own: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    return own.keys() == given.keys() and all(equal_values(value, given[name]) for name, value in own.items())


def _mentions(own: dict[str, Any]) -> bool:
    """Whether a candidate says something of a stage: one of `max_epochs` alone is no plain net among others."""
    return not own or any(name in own for name in (*_REMEDIES, "decision"))


def _names(params: list[dict[str, Any]], names: Any, plain: int | None, moved: int | None) -> list[str]:
    if callable(names):
        return [str(names(given)) for given in params]
    if names is not None:
        if len(names) != len(params):
            raise ValueError(f"names must have one for each of the {len(params)} candidates; it has {len(names)}.")
        return [str(name) for name in names]
    found = []
    for position, given in enumerate(params):
        own = {_last(name): value for name, value in given.items()}
        left = {name: value for name, value in own.items() if value is not None}
        if position in (plain, moved) and set(left) <= {"decision", *_REMEDIES}:
            decision = left.get("decision")
            found.append("plain" if position == plain else f"plain, decision={_text(decision)}")
        else:
            found.append(", ".join(f"{name}={_text(value)}" for name, value in left.items()) or "plain")
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", None) or str(value)


def _position(given: Any, params: list[dict[str, Any]], found: int | None, name: str) -> int | None:
    """Return the position of a candidate that is given by its number or parameters, or found."""
    if given is None or (isinstance(given, str) and given == "auto"):
        return None if given is None else found
    if isinstance(given, Mapping):
        matching = [position for position, own in enumerate(params) if _equal(own, given)]
        if not matching:
            raise ValueError(f"{name} must be the parameters of a candidate; none has {listed(dict(given))}.")
        return matching[0]
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        raise TypeError(f'{name} must be "auto", None, a position or the parameters of a candidate; it is {given!r}.')
    if not 0 <= given < len(params):
        raise ValueError(f"{name} must be a position in [0, {len(params)}); it is {given}.")
    return int(given)
