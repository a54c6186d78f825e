"""A comparison as one HTML page: tables, pictures, how to read them, and the line of code to copy."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imbalanced_torch._classifier import ImbalancedNetClassifier
from imbalanced_torch._comparison.finding import clause, p_text
from imbalanced_torch._comparison.paired_tests import PairedTests
from imbalanced_torch._comparison.scores import Score
from imbalanced_torch._comparison.strategies import net_of
from imbalanced_torch._displays import canvas
from imbalanced_torch._displays.calibration_comparison import CalibrationComparisonDisplay
from imbalanced_torch._displays.decision_tradeoff import DecisionTradeoffDisplay
from imbalanced_torch._displays.strategy_comparison import StrategyComparisonDisplay
from imbalanced_torch._parameters.values import labels_of
from imbalanced_torch._prediction.prediction import rarest_of
from imbalanced_torch._version import __version__

_TEMPLATE = Path(__file__).parent / "page.html"
#: What text and axes are drawn in, for the page to colour.
_INK = "#010203"
#: Colours of the pictures -> names of colours in the page, which has others for a dark screen.
_COLORS = {
    _INK: "currentColor",
    canvas.BLACK: "currentColor",
    canvas.BLUE: "var(--blue)",
    canvas.VERMILION: "var(--vermilion)",
    canvas.GREEN: "var(--green)",
    canvas.GREY: "var(--grey)",
    "#ebebeb": "var(--line)",
}
_STYLE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK),
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "imbalanced-torch",
    "font.size": 11,
}
#: Inches: as wide as a phone shows in the size that it is drawn in.
_WIDTH = 5.2


def page_of(comparison: Any) -> str:
    """Return the page of a StrategyComparison."""
    canvas.check_matplotlib("StrategyComparison.to_html")
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup, escape
    except ImportError as error:
        raise ImportError(
            "StrategyComparison.to_html needs Jinja2, which is not installed. Run: "
            'pip install "imbalanced-torch[report]".'
        ) from error

    def breakable(name: str) -> Markup:
        return Markup(escape(name).replace("=", Markup("=<wbr>")))

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = breakable
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    counts = comparison.rows["classes"]
    n = comparison.rows["n_rows"]
    return template.render(
        finding=comparison.finding,
        recommended=comparison.recommended,
        code=comparison.code,
        is_default=type(comparison.estimator) in (type(None), ImbalancedNetClassifier),
        rows=comparison.rows,
        classes=[
            {"label": str(label), "n": count, "share": count / n}
            for label, count in sorted(counts.items(), key=lambda item: -item[1])
        ],
        sections=_sections(comparison),
        pictures=_pictures(comparison),
        n_folds=comparison.by_fold[0].shape[1],
        n_fits=comparison.by_fold[0].size,
        version=__version__,
        random_state=comparison.random_state,
    )


def _sections(comparison: Any) -> list[dict[str, Any]]:
    """Return what the page says of each score."""
    result: list[dict[str, Any]] = []
    for score, own, test in zip(comparison.scores, comparison.by_fold, comparison.tests, strict=True):
        text = clause(score, comparison.strategies, test)
        result.append(
            {
                "title": score.noun,
                "text": text[0].upper() + text[1:],
                "lower": score.is_loss,
                "of_labels": score.of_labels,
                "rows": _table(comparison, score, own, test),
                "reference": comparison.references[score.name],
                "svg": _svg(partial(_draw_scores, comparison, score, own), f"s{len(result)}"),
            }
        )
    return result


def _table(comparison: Any, score: Score, own: np.ndarray, test: PairedTests) -> list[dict[str, str]]:
    """Return the rows of a score's table; a loss is shown as it is, so that less is better."""
    sign = -1 if score.is_loss else 1
    rows = []
    for i, strategy in enumerate(comparison.strategies):
        row = {"name": strategy.name, "mean": f"{sign * own[i].mean():.3f}", "std": f"{own[i].std(ddof=1):.3f}"}
        row |= {"chosen": "yes" if i == comparison.position else "", "difference": "", "interval": "", "p": ""}
        if i == _position(comparison, score):
            row["verdict"] = "reference"
        elif not np.any(own[i] - own[_position(comparison, score)]):
            row["verdict"] = "the same"
        elif not np.isfinite(test.p_value[i]):
            row["verdict"] = "unknown"
        else:
            low, high = sorted((sign * test.low[i], sign * test.high[i]))
            row |= {"difference": _signed(sign * test.difference[i]), "interval": f"{_signed(low)} to {_signed(high)}"}
            row |= {"p": p_text(test.p_value[i])}
            row |= {"verdict": "better" if test.better[i] else "worse" if test.worse[i] else "within noise"}
        rows.append(row)
    return rows


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def _position(comparison: Any, score: Score) -> int:
    names = [strategy.name for strategy in comparison.strategies]
    return names.index(comparison.references[score.name])


def _draw_scores(comparison: Any, score: Score, own: np.ndarray, ax: Any) -> None:
    names = [strategy.name for strategy in comparison.strategies]
    reference = _position(comparison, score)
    title = f"{score.noun} ({'lower' if score.is_loss else 'higher'} is better)"
    values = -own if score.is_loss else own
    display = StrategyComparisonDisplay({title: values}, names, reference=reference)
    display.plot(ax=ax)
    for legend in filter(None, [*display.figure_.legends, ax.get_legend()]):  # the page says once what marks are
        legend.remove()


def _pictures(comparison: Any) -> list[dict[str, str]]:
    """Return pictures of the recommended estimator, on rows that its fit held out, where it has some."""
    estimator = comparison.best_estimator_
    net, _ = net_of(estimator)
    try:
        y, proba, weights = net.held_out_predictions()
    except ValueError:
        return []
    if len(np.unique(y)) < len(net.classes_):
        return []
    code = rarest_of(net.class_prior_)
    label = labels_of(net.classes_)[code]
    decisions = None
    if len(net.classes_) == 2:
        decisions = list(dict.fromkeys(["argmax", "balanced", *filter(lambda own: own == "f1", [net.decision])]))

    def tradeoff(ax: Any) -> None:
        display = DecisionTradeoffDisplay.from_estimator(estimator, decisions=decisions, name="", ax=ax)
        _plain_numbers(display.ax_.xaxis)

    def calibration(ax: Any) -> None:
        own = {"predict_proba": proba[:, code]}
        display = CalibrationComparisonDisplay.from_predictions(y, own, sample_weight=weights, pos_label=label, ax=ax)
        _plain_numbers(display.counts_ax_.yaxis)

    return [
        {
            "title": "What a threshold gains and costs",
            "text": f"Recall and precision of {label!r} and the share of rows called so, by the threshold on its "
            "probability. The bands are intervals at 95 %. A decision moves the threshold; nothing is "
            "trained for it.",
            "svg": _svg(tradeoff, "t"),
        },
        {
            "title": "Whether the probabilities are what they say",
            "text": f"Among rows of one predicted probability, the share that is {label!r}; on the diagonal the two "
            "agree. Below, how many rows each point stands for.",
            "svg": _svg(calibration, "c"),
        },
    ]


def _plain_numbers(axis: Any) -> None:
    """Let a logarithmic axis have numbers for powers of ten: a dollar sign in a label is no formula in the page."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _svg(draw: Callable[[Any], None], name: str) -> str:
    """Return a picture as an SVG element that takes the width and colours of the page."""
    from io import StringIO

    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(_WIDTH, 4.4), layout="constrained")
        draw(figure.subplots())
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    # Names are the page's, not each picture's.
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', text, count=1)
    text = text.replace("xlink:href", "href")
    for color, variable in _COLORS.items():
        text = re.sub(color, variable, text, flags=re.IGNORECASE)
    return text
