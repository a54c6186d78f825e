"""The estimator in a notebook: beside scikit-learn's own tables its three stages, and the class priors once fitted."""

from __future__ import annotations

import inspect
import reprlib
from contextlib import suppress
from html import escape
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from imbalanced_torch._parameters.values import equal_values, labels_of
from imbalanced_torch._prediction.prior import resolve_prior_correction

#: Address of a class's page, with {estimator_module} and {estimator_name} as scikit-learn fills them. Empty as long as
#: there is no site: no link is shown then.
DOCS = ""
#: What a stage does, and its parameters.
STAGES = (
    ("What the net learns from", ("class_weight", "sampling", "criterion", "schedule")),
    ("What the probabilities mean", ("prior_correction",)),
    ("How a label is chosen", ("decision",)),
)
_PRIORS = (
    ("class_prior_", "in the data"),
    ("sampled_prior_", "shown to the net"),
    ("effective_prior_", "learned under"),
)
#: Classes that are listed.
_MOST = 8
#: Beside scikit-learn's styles of tables, of which there are none before 1.7.
_STYLE = """<style>
.imbalanced-stages table { border-collapse: collapse; }
.imbalanced-stages table + table { margin-top: .5rem !important; }
.imbalanced-stages :is(td, th) { padding: .2rem .5rem !important; text-align: left !important; }
</style>"""


class HTMLRepr(BaseEstimator):
    """An estimator whose HTML shows its stages: through scikit-learn's table of parameters where it has one."""

    _doc_link_module = "imbalanced_torch"
    _doc_link_template = DOCS

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        """Return scikit-learn's table of parameters, with the stages above it: in pipelines and searches too."""
        params = super()._get_params_html(*args, **kwargs)
        own = params._html_repr
        params._html_repr = lambda: stages_html(self) + own()
        return params

    def _repr_html_inner(self) -> str:
        """Return scikit-learn's HTML; before its tables of parameters the stages stand below it."""
        own = super()._repr_html_inner()
        return own if _has_tables() else own + stages_html(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle and not _has_tables():
            bundle["text/html"] += stages_html(self)
        return bundle


def _has_tables() -> bool:
    """Whether this scikit-learn, 1.7 or later, shows tables of parameters."""
    return hasattr(BaseEstimator, "_get_params_html")


def stages_html(estimator: Any) -> str:
    """Return the stages of an estimator with their parameters, and its class priors if it is fitted."""
    rows = "".join(_stage(estimator, title, names) for title, names in STAGES)
    priors = _priors(estimator) if estimator.__sklearn_is_fitted__() else ""
    return (
        f'{_STYLE}<div class="estimator-table imbalanced-stages"><details open><summary>Three stages</summary>'
        f'<table class="parameters-table"><tbody>{rows}</tbody></table>{priors}</details></div>'
    )


def _stage(estimator: Any, title: str, names: tuple[str, ...]) -> str:
    params, defaults = estimator.get_params(), inspect.signature(type(estimator).__init__).parameters
    rows = [f'<tr><th colspan="2">{title}</th></tr>']
    own = [name for owner in names for name in params if name.partition("__")[0] == owner]
    for name in own:
        value = params[name]
        default = "__" not in name and name in defaults and equal_values(value, defaults[name].default)
        kind = "default" if default else "user-set"
        cells = f'<td class="param">{escape(name)}</td><td class="value">{escape(_shown(value))}</td>'
        rows.append(f'<tr class="{kind}">{cells}</tr>')
    return "".join(rows)


def _shown(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    short = reprlib.Repr()
    short.maxstring = short.maxother = 60
    return short.repr(value)


def _priors(estimator: Any) -> str:
    """Return a table of the class priors: classes in rows, stages in columns."""
    labels = labels_of(estimator.classes_)
    columns = [(title, getattr(estimator, name)) for name, title in _PRIORS]
    with suppress(ValueError, TypeError):  # a parameter that is wrong is for predict to say
        target = resolve_prior_correction(estimator.prior_correction, estimator.class_prior_, estimator.classes_)
        columns.append(("of predict_proba", estimator.effective_prior_ if target is None else target))
    head = "".join(f"<th>{title}</th>" for title, _ in columns)
    order = np.argsort(-estimator.class_prior_, kind="stable")
    shown = order if len(order) <= _MOST else [*order[: _MOST // 2], *order[-_MOST // 2 :]]
    rows = [
        f'<tr class="default"><td class="param">{escape(str(labels[code]))}</td>'
        + "".join(f"<td>{_share(shares[code])}</td>" for _, shares in columns)
        + "</tr>"
        for code in shown
    ]
    if len(order) > _MOST:
        note = f"… {len(order) - len(shown)} classes in between"
        rows.insert(_MOST // 2, f'<tr class="default"><td colspan="{len(columns) + 1}">{note}</td></tr>')
    return f'<table class="parameters-table"><tbody><tr><th>Class priors</th>{head}</tr>{"".join(rows)}</tbody></table>'


def _share(share: float) -> str:
    return "unknown" if np.isnan(share) else f"{share:.3g}"
