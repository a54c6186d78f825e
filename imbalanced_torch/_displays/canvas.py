"""Where displays draw: matplotlib where it is asked for, axes of the caller's or new ones, colours for every eye."""

from __future__ import annotations

from typing import Any

#: Okabe and Ito's, which those who see few colours tell apart; each display gives its artists markers or dashes too.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, BLACK, GREY = (
    *("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#000000", "#767676"),
)
#: Points from the axes to a legend below them, for the numbers and one line of text in between, and for each more.
_DROP, _LINE = 34, 14


def check_matplotlib(caller: str) -> None:
    """Raise ImportError, with what to install, where there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'{caller} needs matplotlib, which is not installed. Run: pip install "imbalanced-torch[plots]".'
        ) from error


def axes_of(display: Any, ax: Any, **figure: Any) -> Any:
    """Return the axes to draw in: the caller's, or those of a new figure, to which the keywords go."""
    check_matplotlib(f"{type(display).__name__}.plot")
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained", **figure)[1]


def split_off_below(ax: Any, share: float) -> Any:
    """Return new axes that take a share of the room of others, below these, with the same x axis."""
    figure, spec = ax.figure, ax.get_subplotspec()
    if spec is not None:
        rows = spec.subgridspec(2, 1, height_ratios=[1 - share, share])
        ax.set_subplotspec(rows[0])
        below = figure.add_subplot(rows[1], sharex=ax)
    else:
        left, bottom, width, height = ax.get_position().bounds
        ax.set_position((left, bottom + height * (share + 0.05), width, height * (0.95 - share)))
        below = figure.add_axes((left, bottom, width, height * share), sharex=ax)
    ax.tick_params(labelbottom=False)
    return below


def styled(artist: str, defaults: dict[str, Any], given: dict[str, Any] | None) -> dict[str, Any]:
    """Return the style of a class of artists: defaults, and what the caller gives in their place under any alias."""
    import matplotlib.cbook as cbook
    from matplotlib import collections, lines, patches

    kinds = {"line": lines.Line2D, "patch": patches.Patch, "collection": collections.Collection}
    return {**defaults, **cbook.normalize_kwargs(given or {}, kinds[artist])}


def legend_below(ax: Any, handles: list[Any] | None = None, columns: int = 3, lines: int = 1) -> Any:
    """Draw a legend under the label of the x axis, which has so many lines: there it covers nothing."""
    from matplotlib.transforms import offset_copy

    drop = _DROP + _LINE * (lines - 1)
    below = offset_copy(ax.transAxes, ax.get_figure(), y=-drop, units="points")
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below, "borderaxespad": 0}
    return ax.legend(
        **({} if handles is None else {"handles": handles}), ncols=columns, frameon=False, fontsize="small", **place
    )


def legend_above(ax: Any, columns: int) -> Any:
    """Draw a legend over the axes."""
    return ax.legend(
        **{"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": columns, "frameon": False},
        **{"fontsize": "small", "columnspacing": 1.2, "handletextpad": 0.4},
    )


def shortened(text: str, length: int) -> str:
    """Return a text without its middle where it is longer: names that begin alike often differ at the end."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}…{text[-end:]}"
