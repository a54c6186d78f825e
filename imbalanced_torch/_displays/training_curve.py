"""How a fit went: losses by epoch, when the remedies set in, and the epoch whose weights were kept."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from imbalanced_torch._displays import canvas
from imbalanced_torch._displays.responses import fitted_net

#: Column of the history, attribute, what it is called, colour and dashes.
_LOSSES = (
    ("train_loss", "train_loss", "training loss", canvas.BLUE, "-"),
    ("valid_loss", "valid_loss", "held-out loss", canvas.VERMILION, "--"),
    ("valid_log_loss_corrected", "valid_log_loss", "held-out log loss, prior-corrected", canvas.BLACK, "-."),
)


class TrainingCurveDisplay:
    """Losses of each epoch, the strength of scheduled remedies, and the epoch whose weights the net has.

    It is recommended to use `from_estimator` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    epochs : array of shape (n_epochs,)
        Numbers of the epochs, from 1.
    train_loss : array of shape (n_epochs,)
        Loss of the training rows, weighted as in training.
    valid_loss : array of shape (n_epochs,), default=None
        The same of rows held out; None where none were.
    valid_log_loss : array of shape (n_epochs,), default=None
        Log loss of the prior-corrected probabilities of rows held out, on which early stopping decides unless told
        otherwise.
    remedy_strength : array of shape (n_epochs,), default=None
        How far `class_weight` and `sampling` act, 0 to 1; None without a schedule.
    best_epoch : int, default=None
        The epoch whose weights were kept; 0 or None marks none.
    name : str, default=None
        Title; None is none.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The losses. A loss that is the same as the one before is not drawn twice.
    best_epoch_line_, switch_line_ : matplotlib Line2D or None
        The epoch that was kept, and the first in which scheduled remedies act in full.
    strength_ : matplotlib PolyCollection or None
        The strength of the remedies.
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> display = TrainingCurveDisplay([1, 2, 3], [0.6, 0.4, 0.3], [0.6, 0.5, 0.55], best_epoch=2)
    >>> len(display.plot().lines_)  # doctest: +SKIP
    2
    """

    def __init__(
        self,
        epochs: Any,
        train_loss: Any,
        valid_loss: Any = None,
        valid_log_loss: Any = None,
        *,
        remedy_strength: Any = None,
        best_epoch: int | None = None,
        name: str | None = None,
    ) -> None:
        self.epochs = epochs
        self.train_loss = train_loss
        self.valid_loss = valid_loss
        self.valid_log_loss = valid_log_loss
        self.remedy_strength = remedy_strength
        self.best_epoch = best_epoch
        self.name = name

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : ImbalancedNetClassifier or Pipeline
            The fitted estimator, or a Pipeline that ends in one.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title; None is the name of the class.
        **kwargs : dict
            Style of the losses, for matplotlib's `Line2D`.

        Returns
        -------
        TrainingCurveDisplay
            The display, drawn.
        """
        canvas.check_matplotlib(f"{cls.__name__}.from_estimator")
        net = fitted_net(estimator, cls.__name__)
        history = net.history_
        epochs = np.arange(1, len(history) + 1)
        columns = {attribute: _column(history, column) for column, attribute, *_ in _LOSSES}
        display = cls(
            epochs,
            **columns,
            remedy_strength=_column(history, "remedy_strength"),
            # Without rows held out the last epoch is kept, which says nothing.
            best_epoch=None if columns["valid_log_loss"] is None else int(net.best_epoch_),
            name=type(net).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title; None is that of the display.
        **kwargs : dict
            Style of the losses, for matplotlib's `Line2D`.

        Returns
        -------
        TrainingCurveDisplay
            The display, drawn.
        """
        self.ax_ = canvas.axes_of(self, ax)
        self.figure_ = self.ax_.figure
        self.lines_: list[Any] = []
        drawn: list[np.ndarray] = []
        for _, attribute, label, color, dashes in _LOSSES:
            values = getattr(self, attribute)
            if values is None or any(np.allclose(values, other, rtol=1e-3, equal_nan=True) for other in drawn):
                continue
            drawn.append(np.asarray(values, dtype=float))
            style = {"color": color, "linestyle": dashes, "label": label}
            if len(drawn[-1]) == 1:
                style["marker"] = "o"
            self.lines_ += self.ax_.plot(self.epochs, drawn[-1], **canvas.styled("line", style, kwargs))
        self._mark()
        name = self.name if name is None else name
        if name is not None:
            self.ax_.set_title(name)
        self.ax_.set(xlabel="Epoch", ylabel="Loss per row")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.spines[["top", "right"]].set_visible(False)
        canvas.legend_below(self.ax_)
        return self

    def _mark(self) -> None:
        """Draw the strength of the remedies, the switch to them, and the epoch that was kept."""
        self.strength_ = self.switch_line_ = self.best_epoch_line_ = None
        if self.remedy_strength is not None:
            strength, transform = np.asarray(self.remedy_strength, dtype=float), self.ax_.get_xaxis_transform()
            self.strength_ = self.ax_.fill_between(
                *(self.epochs, 0, strength),
                **{"step": "mid", "transform": transform, "color": "0.9", "zorder": 0, "linewidth": 0},
                label="strength of the remedies, 0 to 1",
            )
            full = np.flatnonzero(strength >= 1)
            if len(full):
                first = self.epochs[full[0]]
                label = f"remedies in full from epoch {first}"
                self.switch_line_ = self.ax_.axvline(
                    first - 0.5, color=canvas.ORANGE, linestyle=(0, (1, 1)), label=label
                )
        if self.best_epoch:
            label = f"best epoch, {self.best_epoch}"
            self.best_epoch_line_ = self.ax_.axvline(self.best_epoch, color=canvas.GREEN, linestyle=":", label=label)


def _column(history: Any, name: str) -> np.ndarray | None:
    """Return what each epoch has under a name, NaN where it has nothing; None where no epoch has it."""
    values = np.array([row.get(name, np.nan) for row in history], dtype=float)
    return values if np.isfinite(values).any() else None
