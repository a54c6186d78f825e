"""The criterion behind the estimator: where it comes from, logits of half precision, and what messages tell of it."""

import traceback
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from imbalanced_torch import MLP, FocalLoss, ImbalancedNetClassifier, LDAMLoss, LogitAdjustedLoss
from imbalanced_torch._losses.weighted import LOSSES


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 3, "lr": 0.01, "random_state": 0, **kwargs})


# Logits of half precision


class Half(nn.Module):
    """A linear module whose logits are of half precision, as under autocast."""

    def __init__(self, n_features, n_outputs, n_classes=None, kind=torch.bfloat16, flat=False):
        super().__init__()
        self.linear = nn.Linear(n_features, n_outputs)
        self.kind, self.flat = kind, flat

    def forward(self, X):
        logits = self.linear(X).to(self.kind)
        return logits[:, 0] if self.flat else logits


class Autocast(nn.Module):
    def __init__(self, n_features, n_outputs, kind=torch.bfloat16):
        super().__init__()
        self.linear, self.kind = nn.Linear(n_features, n_outputs), kind

    def forward(self, X):
        with torch.autocast("cpu", dtype=self.kind):
            return self.linear(X), X


@pytest.mark.parametrize("criterion", [None, nn.CrossEntropyLoss, *LOSSES])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["one logit", "one flat logit", "two logits", "three logits"])
def test_logits_of_half_precision_serve_everywhere(data, three_classes, criterion, kind, form):
    X, y = three_classes if form == "three logits" else data
    module = {"module__kind": kind, "module__flat": "flat" in form}
    if form == "two logits":
        module["module__n_outputs"] = 2
    fitted = net(Half, criterion=criterion, class_weight="balanced", early_stopping=True, **module).fit(X, y)
    assert {type(loss) for loss in fitted.history_[:, "valid_log_loss"]} <= {float, np.float64}
    proba = fitted.predict_proba(X)
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), proba, atol=1e-6)
    assert fitted.decision_function(X).dtype == np.float32
    assert set(fitted.predict(X)) <= set(y)
    np.testing.assert_array_equal(
        fitted.net_.predict_proba(X.astype(fitted.net_.module_.linear.weight.numpy(force=True).dtype)), proba
    )


@pytest.mark.parametrize("n_rows", [300, 3000])
@pytest.mark.parametrize("iterator", [{}, {"iterator_valid__num_workers": 0}], ids=["shortcut", "skorch's loop"])
def test_a_module_that_autocasts_predicts(data, n_rows, iterator):
    X, y = (np.resize(values, (n_rows, *values.shape[1:])) for values in data)
    fitted = net(Autocast, **iterator).fit(X.astype(np.float32), y)
    assert fitted.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_losses_of_half_precision_logits_are_of_single_precision(data):
    seen = []

    class Watched(nn.BCEWithLogitsLoss):
        def forward(self, logits, targets):
            seen.append((logits.dtype, targets.dtype))
            return super().forward(logits, targets)

        def probabilities(self, logits):
            seen.append((logits.dtype, torch.float32))
            return torch.sigmoid(logits)

    net(Half, criterion=Watched, early_stopping=True).fit(*data).predict_proba(data[0])
    assert set(seen) == {(torch.float32, torch.float32)}


# Where it comes from


@pytest.mark.parametrize(
    ("made", "word", "parameters"),
    [
        (partial(FocalLoss, gamma=1.0), "focal", {"criterion__gamma": 1.0}),
        (partial(FocalLoss, 1.0, reduction="sum"), "focal", {"criterion__gamma": 1.0}),
        (partial(FocalLoss), "focal", {}),
        (lambda: FocalLoss(gamma=1.0), "focal", {"criterion__gamma": 1.0}),
        (partial(LDAMLoss, max_margin=0.3), "ldam", {"criterion__max_margin": 0.3}),
        (lambda class_counts: LDAMLoss(class_counts), "ldam", {}),
        (lambda **parameters: LDAMLoss(**parameters), "ldam", {}),
        (LDAMLoss, "ldam", {}),
        (partial(LogitAdjustedLoss, [1, 3]), "logit_adjusted", {"criterion__class_counts": [1, 3]}),
        (partial(LogitAdjustedLoss, class_counts=[1, 3]), "logit_adjusted", {"criterion__class_counts": [1, 3]}),
        (lambda: LogitAdjustedLoss([1, 3]), "logit_adjusted", {"criterion__class_counts": [1, 3]}),
        (partial(nn.CrossEntropyLoss, label_smoothing=0.0), None, {}),
    ],
)
def test_what_makes_a_criterion_is_taken_as_its_class(data, made, word, parameters):
    fitted, expected = net(criterion=made).fit(*data), net(criterion=word, **parameters).fit(*data)
    np.testing.assert_allclose(fitted.predict_proba(data[0]), expected.predict_proba(data[0]), rtol=1e-9)


def test_parameters_go_over_those_of_a_partial_and_are_checked(data):
    fitted = net(criterion=partial(FocalLoss, gamma=1.0), criterion__gamma=3.0).fit(*data)
    assert fitted.net_.criterion_.criterion.gamma == 3.0
    with pytest.raises(ValueError, match=r"criterion__gama can't be set: .* has no parameter 'gama'. Did you mean"):
        net(criterion=partial(FocalLoss, gamma=1.0), criterion__gama=3.0).fit(*data)


def test_a_criterion_that_a_function_keeps_stays_as_it_was(data):
    kept = FocalLoss()
    net(criterion=lambda: kept).fit(*data)
    assert kept.reduction == "mean"


@pytest.mark.parametrize(
    "made", [lambda: 3, lambda logits, targets: 0, partial(max, 1), FocalLoss.forward, 3, [FocalLoss]]
)
def test_what_makes_no_criterion_raises(data, made):
    with pytest.raises(
        TypeError, match=r"criterion must be None, one of the words .* or a torch criterion class; it is"
    ):
        net(criterion=made).fit(*data)


# Messages


@pytest.mark.parametrize(
    ("parameters", "n_classes", "message"),
    [
        (
            {"criterion": "focal", "criterion__alpha": 0.25},
            3,
            "criterion FocalLoss with criterion__alpha=0.25 can't take logits of shape (2, 3) and targets of shape "
            "(2,): alpha as a float serves two classes; there are 3. Pass a weight for each class.",
        ),
        (
            {"criterion": "focal", "criterion__alpha": [1, 2, 3]},
            2,
            "criterion FocalLoss with criterion__alpha=[1, 2, 3] can't take logits of shape (2,) and targets of shape "
            "(2,): alpha must have one weight for each of 2 classes; it has 3.",
        ),
        (
            {"criterion": "ldam", "criterion__class_counts": [1, 2, 3]},
            2,
            "criterion LDAMLoss with criterion__class_counts=[1, 2, 3] can't take logits of shape (2,) and targets of "
            "shape (2,): class_counts must have one count for each of 2 classes; it has 3.",
        ),
        (
            {"criterion": "focal", "criterion__gamma": -1},
            2,
            "criterion FocalLoss can't be made with criterion__gamma=-1: gamma must not be negative; it is -1.",
        ),
        (
            {"criterion": partial(FocalLoss, gamma=1), "criterion__alpha": "many"},
            2,
            "criterion FocalLoss can't be made with criterion__alpha='many': alpha must be positive for each class, or "
            "a float in (0, 1); it is 'many'.",
        ),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(data, three_classes, parameters, n_classes, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        net(**parameters).fit(*(three_classes if n_classes == 3 else data))
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "parameters",
    [
        {"criterion": "focal", "criterion__alpha": [1e-40, 1e40]},
        {"criterion": "focal", "criterion__gamma": 1e308},
        {"criterion": "ldam", "criterion__scale": 1e308},
        {"criterion": "ldam", "criterion__scale": 1e-300},
        {"criterion": "ldam", "criterion__max_margin": 1e308},
        {"criterion": "vs", "criterion__gamma": 1e308},
        {"criterion": "vs", "criterion__tau": -1e308},
        {"criterion": "logit_adjusted", "criterion__tau": 1e308},
        {"criterion": "logit_adjusted", "criterion__class_counts": [1e308, 5e-324]},
        {"criterion": "asymmetric", "criterion__gamma_negative": 1e308},
        {"criterion": "label_smoothing", "criterion__smoothing": 1 - 1e-16},
        {"criterion": nn.CrossEntropyLoss, "criterion__label_smoothing": np.nan},
        {"criterion": nn.CrossEntropyLoss, "criterion__label_smoothing": "much"},
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_parameters_train_or_are_named(data, parameters, dtype):
    name = next(name for name in parameters if "__" in name)
    X, y = data[0].astype(dtype), data[1]
    try:
        fitted = net(**parameters).fit(X, y)
    except (ValueError, TypeError) as error:
        message = str(error)
    else:
        proba, message = fitted.predict_proba(X), name
        assert np.isfinite(proba).all()
        np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    assert name in message


class Failing(nn.BCEWithLogitsLoss):
    """A criterion with a fault deep inside its probabilities."""

    def probabilities(self, logits):
        return self.deep_inside(logits)

    def deep_inside(self, logits):
        return logits.no_such_method()


def test_the_users_own_traceback_is_kept_where_probabilities_fail(data):
    with pytest.raises(ValueError, match=r"it gives AttributeError: .*no_such_method") as raised:
        net(criterion=Failing).fit(*data)
    assert "deep_inside" in "".join(traceback.format_exception(raised.value))


class NoTensor(nn.Module):
    def forward(self, logits, targets):
        return 1.0

    def probabilities(self, logits):
        return torch.sigmoid(logits)


def test_a_loss_that_is_no_tensor_raises(data):
    with pytest.raises(
        TypeError, match="criterion NoTensor must return a tensor of one loss per row; it returns a float"
    ):
        net(criterion=NoTensor).fit(*data)


class Infinite(nn.Module):
    """A criterion whose loss is infinite from the start."""

    def __init__(self, divisor=0.0, reduction="none"):
        super().__init__()
        self.divisor = divisor

    def forward(self, logits, targets):
        return (torch.sigmoid(logits) - targets).square() / self.divisor

    def probabilities(self, logits):
        return torch.sigmoid(logits)


def test_a_criterion_with_infinite_losses_is_named_rather_than_the_learning_rate(data):
    with pytest.raises(
        ValueError, match=r"criterion Infinite with criterion__divisor=0.0 must give losses and gradients"
    ):
        net(criterion=Infinite, criterion__divisor=0.0).fit(*data)


class Broken(nn.Linear):
    def forward(self, X):
        return super().forward(X) * torch.inf


@pytest.mark.parametrize("criterion", [None, *LOSSES, Infinite])
@pytest.mark.parametrize("out_features", [1, 2])
def test_logits_that_are_not_finite_are_the_modules_not_the_criterions(data, criterion, out_features):
    with pytest.raises(ValueError, match=r"the module returns nan or infinite logits for 2 of 2 rows before any train"):
        net(Broken, criterion=criterion, module__out_features=out_features).fit(*data)


@pytest.mark.parametrize("criterion", [None, *LOSSES])
@pytest.mark.parametrize("size", [1e4, 1e10, 1e30])
def test_features_far_out_have_finite_log_probabilities(data, three_classes, criterion, size):
    for X, y in (data, three_classes):
        X = X.astype(np.float32)
        fitted = net(criterion=criterion, class_weight="balanced").fit(X, y)
        assert np.isfinite(fitted.predict_log_proba(size * X)).all()
        np.testing.assert_allclose(fitted.predict_proba(size * X).sum(1), 1, atol=1e-5)
