import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.inspection import permutation_importance
from torch import nn

from imbalanced_torch import MLP, ImbalancedNetClassifier

# shap's, of how numpy wraps tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")

quick = {"max_epochs": 5, "random_state": 0}


def numbers(n_classes=2):
    X, y = make_classification(
        300,
        n_features=5,
        n_informative=4,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=1,
        weights=[0.8, *[0.2 / (n_classes - 1)] * (n_classes - 2)],
        random_state=0,
    )
    X[:, 4] = X[:, 4] > 0
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def shap():
    """Take seconds to import the package only where a test runs."""
    with warnings.catch_warnings():  # matplotlib's, of how shap makes its colours
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return pytest.importorskip("shap")


@pytest.fixture(scope="module")
def fitted_table():
    """Two columns that matter, a category among them, two of noise, and missing values."""
    rng = np.random.RandomState(0)
    X = pd.DataFrame(
        {
            "noise": rng.randn(300),
            "country": rng.choice(["at", "de", "fr"], 300),
            "amount": rng.randn(300),
            "zip": pd.Categorical(rng.choice([1010, 8010], 300)),
        }
    )
    y = np.where(X["amount"] + 2 * (X["country"] == "fr") + 0.5 * rng.randn(300) > 2, "fraud", "ok")
    X.loc[::9, "country"] = X.loc[::7, "noise"] = None
    return ImbalancedNetClassifier(**quick, class_weight="balanced", prior_correction=True).fit(X, y), X, y


def of_codes(model):
    """Return `predict_proba` of a class as a function of codes, as docs/explaining.md has it."""
    columns = model.columns_

    def proba(codes):
        table = pd.DataFrame(codes, columns=columns.names)
        for name, levels in zip(columns.names, columns.levels, strict=True):
            if levels is not None:
                table[name] = table[name].map(dict(enumerate(levels)))
        return model.predict_proba(table)[:, 0]

    return proba


def test_permutation_importance_finds_the_raw_columns_that_matter(fitted_table):
    importance = permutation_importance(*fitted_table, scoring="roc_auc", n_repeats=3, random_state=0).importances_mean
    assert set(np.argsort(importance)[-2:]) == {1, 2}
    assert (importance[[1, 2]] > 5 * np.abs(importance[[0, 3]]).max()).all()


def test_codes_of_a_table_go_back_to_the_table(fitted_table):
    model, X, _ = fitted_table
    np.testing.assert_array_equal(of_codes(model)(model.columns_.values(X)), model.predict_proba(X)[:, 0])


def test_shares_of_the_permutation_explainer_on_raw_columns_sum_to_the_probability(shap, fitted_table):
    model, X, _ = fitted_table
    proba, codes = of_codes(model), model.columns_.values(X)
    masker = shap.maskers.Independent(codes, max_samples=20)
    shares = shap.explainers.Permutation(proba, masker, seed=0)(codes[:5], silent=True)
    np.testing.assert_allclose(shares.base_values + shares.values.sum(axis=1), proba(codes[:5]), atol=1e-6)
    assert np.abs(shares.values[:, [1, 2]]).mean() > 3 * np.abs(shares.values[:, [0, 3]]).mean()


def test_shares_of_the_kernel_explainer_on_raw_columns_sum_to_the_probability(shap, fitted_table):
    model, X, _ = fitted_table
    proba, codes = of_codes(model), model.columns_.values(X)
    kernel = shap.KernelExplainer(proba, codes[:20])
    shares = kernel.shap_values(codes[:5], silent=True)
    np.testing.assert_allclose(kernel.expected_value + shares.sum(axis=1), proba(codes[:5]), atol=1e-6)


@pytest.mark.parametrize("module", [None, MLP])
def test_shares_of_both_on_arrays_sum_to_the_probabilities_of_each_class(shap, module):
    X, y = numbers(3)
    model = ImbalancedNetClassifier(module, **quick).fit(X, y)
    shares = shap.explainers.Permutation(model.predict_proba, X[:20], seed=0)(X[:3], silent=True)
    np.testing.assert_allclose(shares.base_values + shares.values.sum(axis=1), model.predict_proba(X[:3]), atol=1e-6)
    kernel = shap.KernelExplainer(model.predict_proba, X[:20])
    values = kernel.shap_values(X[:3], silent=True)
    np.testing.assert_allclose(kernel.expected_value + values.sum(axis=1), model.predict_proba(X[:3]), atol=1e-6)


class FromEncoded(nn.Module):
    """A default net as a function of encoded rows, as docs/explaining.md has it."""

    def __init__(self, net):
        super().__init__()
        self.net = net.eval()

    def forward(self, encoded):
        return self.net.averaged(self.net(encoded.expand(self.net.n_members, *encoded.shape)))


def explained(module, n_classes=2):
    """Return a net that gradients go through, its rows, and their logits."""
    X, y = numbers(n_classes)
    model = ImbalancedNetClassifier(module, **quick).fit(X, y)
    net, rows = copy.deepcopy(model.module_).eval(), torch.from_numpy(X)
    with torch.no_grad():
        logits = net(rows)
        return (net, rows, logits) if module else (FromEncoded(net), net.encode(rows), logits)


@pytest.mark.parametrize("module", [None, MLP])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_integrated_gradients_sum_to_the_logits(module, n_classes):
    net, rows, logits = explained(module, n_classes)
    baseline = rows.mean(dim=0, keepdim=True)
    target = None if n_classes == 2 else 1
    shares = (
        pytest.importorskip("captum.attr")
        .IntegratedGradients(net)
        .attribute(rows[:10], baselines=baseline, target=target, n_steps=1000)
    )
    column = (logits - net(baseline))[:10, target or 0].detach()
    np.testing.assert_allclose(shares.sum(dim=1), column, atol=0.01 * float(column.abs().max()))


@pytest.mark.parametrize("module", [None, MLP])
def test_expected_gradients_sum_to_the_logits_the_better_the_more_are_drawn(shap, module):
    net, rows, logits = explained(module)
    wanted = (logits[:20] - logits[100:200].mean(dim=0))[:, 0].numpy()
    errors = []
    for n in (20, 500):
        shares = shap.GradientExplainer(net, rows[100:200]).shap_values(rows[:20], nsamples=n, rseed=0)
        errors.append(np.sqrt(np.square(shares.sum(axis=(1, 2)) - wanted).mean()) / wanted.std())
    assert errors[1] < min(0.2, errors[0] / 2)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_deep_shap_adds_up_on_the_plain_net(shap, n_classes):
    net, rows, logits = explained(MLP, n_classes)
    deep = shap.DeepExplainer(net, rows[100:200])
    shares = deep.shap_values(rows[:20])
    np.testing.assert_allclose(deep.expected_value, logits[100:200].mean(dim=0), atol=1e-5)
    np.testing.assert_allclose(deep.expected_value + shares.sum(axis=1), logits[:20], atol=1e-4)


@pytest.mark.filterwarnings("ignore:unrecognized nn.Module")
def test_deep_shap_does_not_take_the_default_net(shap):
    net, rows, _ = explained(None)
    deep = shap.DeepExplainer(net, rows[:20])
    with pytest.raises(RuntimeError, match="modified inplace"):
        deep.shap_values(rows[:5])
