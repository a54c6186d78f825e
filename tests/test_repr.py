"""A notebook shows the three stages, the priors once fitted, and a link to the docs where there are some."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from imbalanced_torch import MLP, FocalLoss, ImbalancedNetClassifier, OverSampling
from imbalanced_torch import _repr as html

needs_tables = pytest.mark.skipif(
    not hasattr(BaseEstimator, "_get_params_html"), reason="scikit-learn shows tables from 1.7 on"
)


def row(name, value, kind="user-set"):
    return f'<tr class="{kind}"><td class="param">{name}</td><td class="value">{value}</td></tr>'


def test_each_stage_has_its_parameters_and_tells_which_were_set():
    net = ImbalancedNetClassifier(sampling=OverSampling(ratio=0.5), criterion=FocalLoss, decision={"recall": 0.8})
    found = net._repr_html_()
    assert found.count("Three stages") == 1
    first, second, third = (found.index(title) for title, _ in html.STAGES)
    assert first < found.index(row("sampling", "OverSampling(ratio=0.5)")) < second
    assert first < found.index(row("sampling__ratio", "0.5")) < second
    assert first < found.index(row("criterion", "FocalLoss")) < second
    assert first < found.index(row("class_weight", "None", "default")) < second
    assert second < found.index(row("prior_correction", "False", "default")) < third
    assert third < found.index(row("decision", "{&#x27;recall&#x27;: 0.8}"))
    assert "Class priors" not in found


def test_the_stages_are_those_of_the_docstring():
    named = {name for _, names in html.STAGES for name in names}
    assert named < ImbalancedNetClassifier().get_params().keys()


def test_a_fitted_estimator_shows_its_class_priors(data):
    X, y = data
    net = ImbalancedNetClassifier(MLP, class_weight="balanced", prior_correction=True, max_epochs=1).fit(X, y)
    found = net._repr_html_()
    titles = ("Class priors", "in the data", "shown to the net", "learned under", "of predict_proba")
    assert all(f"<th>{title}</th>" in found for title in titles)
    share = f"{net.class_prior_[1]:.3g}"
    cells = "".join(f"<td>{value}</td>" for value in (share, share, "0.5", share))
    assert f'<td class="param">1</td>{cells}' in found
    net.set_params(prior_correction=False)
    cells = "".join(f"<td>{value}</td>" for value in (share, share, "0.5", "0.5"))
    assert f'<td class="param">1</td>{cells}' in net._repr_html_()


def test_of_many_classes_the_most_and_the_least_frequent_are_shown():
    y = np.repeat(np.arange(12), np.arange(15, 3, -1))
    X = np.random.default_rng(0).standard_normal((len(y), 2))
    found = ImbalancedNetClassifier(MLP, max_epochs=1, early_stopping=False).fit(X, y)._repr_html_()
    shown = [code for code in range(12) if f'<td class="param">{code}</td>' in found]
    assert shown == [0, 1, 2, 3, 8, 9, 10, 11]
    assert "… 4 classes in between" in found


def test_labels_and_values_are_escaped(data):
    X, y = data
    net = ImbalancedNetClassifier(MLP, max_epochs=1, decision={"<b>": 0.5}).fit(X, np.where(y == 1, "<b>", "<i>"))
    stages = html.stages_html(net)
    assert '<td class="param">&lt;b&gt;</td>' in stages
    assert "<b>" not in stages


@pytest.mark.parametrize("params", [{"prior_correction": "yes"}, {"decision": {"no": 2}}, {"sampling": 3}], ids=str)
def test_what_is_wrong_is_shown_and_does_not_raise(params, data):
    net = ImbalancedNetClassifier(MLP, max_epochs=1)
    assert "Three stages" in net.set_params(**params)._repr_html_()
    net = ImbalancedNetClassifier(MLP, max_epochs=1).fit(*data)
    assert "Three stages" in net.set_params(**params)._repr_html_()


@needs_tables
def test_pipelines_and_searches_show_the_stages_too():
    pipeline = make_pipeline(StandardScaler(), ImbalancedNetClassifier(class_weight="balanced"))
    for estimator in (pipeline, GridSearchCV(pipeline, {})):
        found = estimator_html_repr(estimator)
        assert found.count("Three stages") == 1
        assert row("class_weight", "&#x27;balanced&#x27;") in found


@needs_tables
def test_scikit_learns_own_tables_stay(data):
    found = ImbalancedNetClassifier(MLP, max_epochs=1).fit(*data)._repr_html_()
    assert found.index("Three stages") < found.index("<summary>Parameters</summary>")
    assert "n_iter_no_change" in found


def test_before_scikit_learn_had_tables_the_stages_stand_below(monkeypatch):
    monkeypatch.setattr(html, "_has_tables", lambda: False)
    monkeypatch.setattr(html.HTMLRepr, "_get_params_html", getattr(BaseEstimator, "_get_params_html", None))
    net = ImbalancedNetClassifier()
    for found in (net._repr_html_(), net._repr_mimebundle_()["text/html"]):
        assert found.count("Three stages") == 1
        assert found.rstrip().endswith("</details></div>")


def test_text_is_shown_where_that_is_asked_for():
    with config_context(display="text"):
        assert ImbalancedNetClassifier()._repr_mimebundle_() == {"text/plain": "ImbalancedNetClassifier()"}


def test_the_docs_are_linked_once_there_is_a_site(monkeypatch):
    assert ImbalancedNetClassifier()._get_doc_link() == ""
    template = "https://docs.invalid/{estimator_module}.{estimator_name}.html"
    monkeypatch.setattr(html.HTMLRepr, "_doc_link_template", template)
    link = "https://docs.invalid/imbalanced_torch.ImbalancedNetClassifier.html"
    assert ImbalancedNetClassifier()._get_doc_link() == link
    assert f'href="{link}' in ImbalancedNetClassifier()._repr_html_()
