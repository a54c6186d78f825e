"""Bad input: each error says what must hold, what came and the choices, word for word."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from tolerances import assert_close_to_rounding
from torch import nn
from torch.utils.data import Dataset, RandomSampler, WeightedRandomSampler

from imbalanced_torch import MLP, EffectiveNumber, FocalLoss, ImbalancedNetClassifier, OverSampling, TemperedSampling
from imbalanced_torch._data.rows import Rows


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 2, "random_state": 0, **kwargs})


def raises(error, message, call, *args, **kwargs):
    with pytest.raises(error) as raised:
        call(*args, **kwargs)
    text = str(raised.value)
    assert text == message if not message.endswith("...") else text.startswith(message[:-3]), text


PARAMETERS = (
    "['batch_size', 'callbacks', 'checkpoint', 'class_weight', 'criterion', 'decision', 'device', 'dtype', "
    "'early_stopping', 'epoch_size', 'lr', 'max_epochs', 'module', 'n_iter_no_change', 'optimizer', "
    "'prior_correction', 'random_state', 'sampling', 'schedule', 'scoring', 'tol', 'train_split', "
    "'validation_fraction', 'verbose', 'warm_start']"
)
PARTS = (
    "module__*, criterion__*, optimizer__*, iterator_train__*, iterator_valid__*, callbacks__*, compile__* for the "
    "parameters of the net's parts."
)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("class_wieght", " Did you mean 'class_weight'?"),
        ("optimzer__lr", " Did you mean 'optimizer__lr'?"),
        ("modul__hidden_sizes", " Did you mean 'module__hidden_sizes'?"),
        ("module_hidden_sizes", " Did you mean 'module__hidden_sizes'?"),
        ("quite_another_thing", ""),
    ],
)
def test_a_misspelt_parameter_raises_at_fit_and_at_set_params(data, name, hint):
    message = f"{name!r} is not a parameter of the classifier.{hint} There are {PARAMETERS}, and {PARTS}"
    raises(ValueError, message, net(**{name: 1}).fit, *data)
    raises(ValueError, message, net().set_params, **{name: 1})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"module__hidden_size": 3},
            "module__hidden_size can't be set: MLP has no parameter 'hidden_size'. Did you mean "
            "'module__hidden_sizes'? It has "
            "['n_features', 'n_outputs', 'hidden_sizes', 'activation', 'dropout', 'seed'].",
        ),
        (
            {"optimizer__weight_deacy": 3},
            "optimizer__weight_deacy can't be set: Adam has no parameter 'weight_deacy'. Did you mean "
            "'optimizer__weight_decay'? It has ...",
        ),
        (
            {"criterion": nn.CrossEntropyLoss, "criterion__smoothing": 3},
            "criterion__smoothing can't be set: CrossEntropyLoss has no parameter 'smoothing'. Did you mean "
            "'criterion__label_smoothing'? It has ...",
        ),
        (
            {"criterion__weight": [1, 2]},
            "criterion__weight can't be set: the estimator weights the loss itself. Use class_weight.",
        ),
        (
            {"criterion__pos_weight": 2},
            "criterion__pos_weight can't be set: the estimator weights the loss itself. Use class_weight.",
        ),
        (
            {"criterion__reduction": "sum"},
            "criterion__reduction can't be set: the estimator weights the loss itself. Use class_weight and "
            "sample_weight.",
        ),
    ],
)
def test_a_misspelt_parameter_of_a_part_raises(data, parameters, message):
    raises(ValueError, message, net(**parameters).fit, *data)


def test_a_parameter_of_a_word_names_the_object_that_has_it(data):
    objects = "Pass an object: OverSampling(ratio=...), UnderSampling(ratio=...) or TemperedSampling(power=...)."
    message = f"sampling__ratio can't be set: sampling is 'over', which has no parameter 'ratio'. {objects}"
    raises(ValueError, message, net(sampling="over").set_params, sampling__ratio=0.5)
    raises(ValueError, message, net(sampling="over", sampling__ratio=0.5).fit, *data)
    message = f"sampling__power can't be set: sampling is OverSampling(), which has no parameter 'power'. {objects}"
    raises(ValueError, message, net(sampling=OverSampling()).set_params, sampling__power=0.5)
    raises(
        ValueError,
        "class_weight__beta can't be set: class_weight is 'effective', which has no parameter 'beta'. Pass an object: "
        "EffectiveNumber(beta=...).",
        net(class_weight="effective").set_params,
        class_weight__beta=0.5,
    )
    assert net(class_weight=EffectiveNumber()).set_params(class_weight__beta=0.5).class_weight.beta == 0.5


@pytest.mark.parametrize("wrong", [{"class_wieght": 3}, {"sampling": "over", "sampling__ratio": 0.5}])
def test_a_failed_set_params_changes_nothing(wrong):
    estimator = net(sampling=OverSampling())
    with pytest.raises(ValueError, match=r"is not a parameter|has no parameter 'ratio'. Pass an object"):
        estimator.set_params(lr=7, **wrong)
    assert estimator.lr is None
    assert estimator.sampling == OverSampling()


@pytest.mark.parametrize(("name", "value"), [("sampler", RandomSampler(range(300))), ("shuffle", False)])
@pytest.mark.parametrize("other", [{"sampling": "over"}, {"epoch_size": 0.5}])
def test_a_users_order_of_rows_together_with_sampling_raises(data, name, value, other):
    ((parameter, setting),) = other.items()
    raises(
        ValueError,
        f"iterator_train__{name} can't go together with {parameter}={setting!r}: both choose the rows. Leave one of "
        "them "
        "out.",
        net(**other, **{f"iterator_train__{name}": value}).fit,
        *data,
    )


def test_a_sampler_instance_says_what_to_pass_instead(data):
    raises(
        TypeError,
        "sampling must be a strategy, not a sampler: a WeightedRandomSampler belongs to the rows of one fold, and a "
        "strategy "
        'makes one for each fit. For WeightedRandomSampler with weights 1 / n_c pass sampling="weighted"; else None, '
        "...",
        net(sampling=WeightedRandomSampler(np.ones(300), 300)).fit,
        *data,
    )


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"class_weight": {"fraud": 3}},
            ValueError,
            "class_weight has keys that are not classes of y: ['fraud']. The classes are [0, 1]. A meta-estimator such "
            "as VotingClassifier encodes y as these: use them as keys inside of it.",
        ),
        ({"sampling": {0: 0}}, ValueError, "sampling must give whole counts of at least 1; it gives {0: 0, 1: 45}...."),
        (
            {"batch_size": 0},
            ValueError,
            "batch_size must be None, an int of at least 1, or -1 for all rows in one batch; it is 0.",
        ),
        (
            {"batch_size": 2.5},
            TypeError,
            "batch_size must be None, an int of at least 1, or -1 for all rows in one batch; it is 2.5.",
        ),
        ({"max_epochs": 0}, ValueError, "max_epochs must be None or an int of at least 1; it is 0."),
        ({"max_epochs": "many"}, TypeError, "max_epochs must be None or an int of at least 1; it is 'many'."),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must be a number in (0, 1); it is 1.0."),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be None or an int of at least 1; it is 0."),
        ({"tol": -1}, ValueError, "tol must be a finite number of at least 0; it is -1."),
        ({"lr": -1}, ValueError, "lr must be a number of at least 0; it is -1."),
        (
            {"early_stopping": "yes"},
            ValueError,
            'early_stopping must be True, False, "auto" or a scorer of scikit-learn, by name or from make_scorer; '
            "it is 'yes'.",
        ),
        (
            {"dtype": "flaot32"},
            ValueError,
            "dtype must be \"auto\", None or one of ['torch.float32', 'torch.float64', 'torch.int64']; it is "
            "'flaot32'.",
        ),
        (
            {"module": 3},
            TypeError,
            "module must be None, a torch.nn.Module class or instance, or a callable that returns one; it is 3.",
        ),
        (
            {"optimizer": "adam"},
            TypeError,
            "optimizer must be None or a torch optimizer class such as torch.optim.Adam; it is 'adam'. Pass the class: "
            "torch.optim.Adam.",
        ),
        (
            {"criterion": "focall"},
            ValueError,
            "criterion must be one of the words ['asymmetric', 'focal', 'label_smoothing', 'ldam', 'logit_adjusted', "
            "'vs']; it is 'focall'. Did you mean 'focal'?",
        ),
        (
            {"train_split": 5},
            TypeError,
            "train_split must be None, a tuple (X, y) of rows to hold out, or a callable of (dataset, labels), such as "
            "skorch's ValidSplit; it is 5.",
        ),
        (
            {"callbacks": "disable", "early_stopping": True},
            ValueError,
            'early_stopping=True needs callbacks, but callbacks="disable". Pass callbacks=None or '
            "early_stopping=False.",
        ),
        (
            {"early_stopping": True, "validation_fraction": 1e-6},
            ValueError,
            "validation_fraction=1e-06 of 300 rows leaves none to validate on; raise it, or set early_stopping=False.",
        ),
        (
            {"early_stopping": True, "train_split": lambda dataset, y: (dataset, None)},
            ValueError,
            "train_split holds out no rows, but early stopping needs some; set early_stopping=False.",
        ),
        (
            {"train_split": lambda dataset, y: (torch.utils.data.Subset(dataset, np.flatnonzero(y == 0)), None)},
            ValueError,
            "train_split leaves no row to train on for the classes [1].",
        ),
        (
            {"train_split": lambda dataset, y: (list(dataset), None)},
            TypeError,
            "train_split must return a part of the dataset it is given (a torch Subset of it, or all of it) to train "
            "on; it "
            "returns list.",
        ),
        (
            {"module": nn.Linear(5, 1), "module__bias": False},
            ValueError,
            "module is an instance, whose parameters are set already; pass its class Linear to set ['bias'].",
        ),
    ],
)
def test_a_bad_parameter_raises_at_fit(data, parameters, error, message):
    raises(error, message, net(**parameters).fit, *data)


# Modules and criteria that do not fit


class Sigmoid(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return torch.sigmoid(self.linear(X)).squeeze(1)


@pytest.mark.parametrize(
    ("module", "name", "operation"),
    [
        (Sigmoid, "Sigmoid", "sigmoid"),
        (nn.Sequential(nn.LazyLinear(1), nn.Sigmoid()), "Sequential", "sigmoid"),
        (nn.Sequential(nn.LazyLinear(2), nn.Softmax(dim=1)), "Sequential", "softmax"),
        (nn.Sequential(nn.LazyLinear(1), nn.LogSigmoid()), "Sequential", "logsigmoid"),
    ],
    ids=["functional sigmoid", "sigmoid", "softmax", "logsigmoid"],
)
def test_a_module_that_returns_probabilities_raises(data, module, name, operation):
    raises(
        ValueError,
        f"module {name} must return logits, not probabilities: its last operation is {operation}. Leave that out; the "
        "criterion applies it.",
        net(module).fit,
        *data,
    )


def test_log_softmax_of_every_class_is_as_good_as_logits(data):
    X, y = data
    module = nn.Sequential(nn.LazyLinear(2), nn.LogSoftmax(dim=1))
    np.testing.assert_allclose(net(module).fit(X, y).predict_proba(X).sum(1), 1)


def test_a_module_with_too_many_logits_raises(data, three_classes):
    raises(
        ValueError,
        "module Linear must return logits of shape (2, 1) or (2, 2) for 2 rows of 2 classes; it returns shape (2, 7).",
        net(nn.Linear, module__out_features=7).fit,
        *data,
    )
    raises(
        ValueError,
        "module Linear must return logits of shape (2, 3) for 2 rows of 3 classes; it returns shape (2, 1).",
        net(nn.Linear, module__out_features=1).fit,
        *three_classes,
    )


def test_a_module_that_can_not_take_the_rows_raises(data):
    raises(
        ValueError,
        "module Linear can't take a batch of float64 of shape (2, 5): mat1 and mat2 shapes cannot be multiplied (2x5 "
        "and 4x1). The module was made with module__in_features=4.",
        net(nn.Linear, module__in_features=4).fit,
        *data,
    )


def test_a_module_that_returns_no_tensor_raises(data):
    class Nothing(nn.Module):
        def forward(self, X):
            return None

    raises(
        TypeError,
        "module Nothing must return a tensor of logits of shape (2, 1) or (2, 2), or a tuple that starts with it; it "
        "returns "
        "NoneType.",
        net(Nothing).fit,
        *data,
    )


class Scalar(nn.Module):
    """A criterion without a loss per row."""

    def probabilities(self, logits):
        return torch.sigmoid(logits)

    def forward(self, logits, targets):
        return (torch.sigmoid(logits) - targets).square().mean()


class Tripled(nn.BCEWithLogitsLoss):
    """A criterion whose probabilities are none."""

    def probabilities(self, logits):
        return 3 * torch.sigmoid(logits)


class Numpy(nn.BCEWithLogitsLoss):
    def probabilities(self, logits):
        return torch.sigmoid(logits).numpy()


class Squared(Scalar):
    """A criterion of a user's: the Brier score, which says what its logits mean."""

    def forward(self, logits, targets):
        return (torch.sigmoid(logits) - targets).square()


TWO_WAYS = (
    "A criterion must be a class that returns one loss per row under reduction='none', and must either be of the "
    "(B)CE-with-logits family or declare probabilities(logits)."
)


@pytest.mark.parametrize(
    ("criterion", "error", "message"),
    [
        (nn.MSELoss, ValueError, f"criterion MSELoss does not say how its logits become probabilities. {TWO_WAYS}"),
        (nn.NLLLoss, ValueError, f"criterion NLLLoss does not say how its logits become probabilities. {TWO_WAYS}"),
        (Scalar, ValueError, f"criterion Scalar returns a loss of shape () for 2 rows. {TWO_WAYS}"),
        (
            torch.nn.functional.cross_entropy,
            TypeError,
            "criterion must be None, one of the words ['asymmetric', 'focal', 'label_smoothing', 'ldam', "
            "'logit_adjusted', 'vs'] or a torch criterion class; it is <function...",
        ),
        (
            nn.CrossEntropyLoss(torch.ones(2)),
            ValueError,
            "criterion CrossEntropyLoss carries its own class weights. Use class_weight, which also knows about "
            "sampling.",
        ),
        (
            nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)),
            ValueError,
            "criterion BCEWithLogitsLoss carries its own class weights. Use class_weight, which also knows about "
            "sampling.",
        ),
        (
            nn.CrossEntropyLoss(ignore_index=1),
            ValueError,
            "criterion CrossEntropyLoss ignores a class: every row has a class. Give the rows to leave out a "
            "sample_weight of 0.",
        ),
    ],
    ids=["MSE", "NLL", "scalar", "function", "weight", "pos_weight", "ignore_index"],
)
def test_a_criterion_that_does_not_fit_raises(data, criterion, error, message):
    raises(error, message, net(criterion=criterion).fit, *data)


@pytest.mark.parametrize("criterion", [Tripled, Numpy])
def test_probabilities_that_are_none_raise(data, criterion):
    raises(
        ValueError,
        f"probabilities(logits) of criterion {criterion.__name__} must return a tensor of probabilities: of code 1, "
        "shape (n,), or of every class, shape (n, 2), in rows that sum to 1; for n = 2 it gives ...",
        net(criterion=criterion).fit,
        *data,
    )


def test_a_binary_criterion_for_three_classes_raises(three_classes):
    raises(
        ValueError,
        "criterion BCEWithLogitsLoss serves two classes; y has 3. Use torch.nn.CrossEntropyLoss, or None.",
        net(criterion=nn.BCEWithLogitsLoss).fit,
        *three_classes,
    )
    raises(
        ValueError,
        "criterion Squared can't take logits of shape (2, 3) and targets of shape (2,): The size of tensor a (3) "
        "must match...",
        net(criterion=Squared).fit,
        *three_classes,
    )


@pytest.mark.parametrize("n_logits", [1, 2])
@pytest.mark.parametrize(
    "criterion",
    [nn.BCEWithLogitsLoss, nn.CrossEntropyLoss, nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="sum")],
)
def test_either_cross_entropy_trains_the_same_net_from_one_logit_and_from_two(data, criterion, n_logits):
    X, y = data
    module = {"module": nn.Linear, "module__out_features": n_logits, "lr": 0.05, "max_epochs": 3}
    fitted, expected = (net(criterion=c, **module).fit(X, y) for c in (criterion, None))
    assert_close_to_rounding(fitted.predict_proba(X), expected.predict_proba(X))


def test_a_criterion_that_declares_its_probabilities_is_taken(data):
    X, y = data
    fitted = net(nn.Linear, criterion=Squared, lr=0.05, max_epochs=20).fit(X, y)
    assert fitted.score(X, y) > 0.85
    np.testing.assert_allclose(fitted.predict_proba(X)[:, 1], 1 / (1 + np.exp(-fitted.decision_function(X))))


# Data


def test_one_class_only_raises(data):
    X, _ = data
    raises(
        ValueError,
        "y must have at least two classes to tell apart; it has one class: ['ok'].",
        net().fit,
        X,
        np.full(300, "ok"),
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_in_X_raise_at_fit_and_predict(data, bad):
    X, y = data
    fitted, X = net().fit(X, y), X.copy()
    X[7, 2] = bad
    for call in (lambda: net().fit(X, y), lambda: fitted.predict(X), lambda: fitted.predict_proba(X)):
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            call()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            np.r_[np.nan, np.ones(299)],
            "y must have a label in every row; it is missing in 1 of 300 rows, the first of them row 0.",
        ),
        (
            np.array(["a", None, "b"] * 100, dtype=object),
            "y must have a label in every row; it is missing in 100 of 300 rows, the first of them row 1.",
        ),
        (
            pd.Series(["a", pd.NA, "b"] * 100),
            "y must have a label in every row; it is missing in 100 of 300 rows, the first of them row 1.",
        ),
        (
            pl.Series(["a", None, "b"] * 100),
            "y must have a label in every row; it is missing in 100 of 300 rows, the first of them row 1.",
        ),
        (np.zeros((300, 2)), "y should be a 1d array, got an array of shape (300, 2) instead."),
        (
            np.linspace(0, 1, 300),
            "Unknown label type: continuous. Maybe you are trying to fit a classifier, which expects discrete classes "
            "on a regression target with continuous values.",
        ),
        (
            np.zeros(299, dtype=int),
            "y must have one label for each row of X; found input variables with inconsistent numbers of samples: "
            "[300, 299].",
        ),
        (None, "ImbalancedNetClassifier requires y to be passed, but the target y is None."),
    ],
    ids=["nan", "None", "pandas NA", "polars null", "two columns", "continuous", "short", "none at all"],
)
def test_bad_labels_raise(data, y, message):
    raises(ValueError, message, net().fit, data[0], y)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.r_[-1.0, np.ones(299)], "sample_weight must not be negative; row 0 has -1.0."),
        (np.zeros(300), "sample_weight must be positive in some row; all weights are zero."),
        (np.ones(299), "sample_weight must have shape (300,), one weight for each row; it has shape (299,)."),
        (np.ones((300, 1)), "sample_weight must have shape (300,), one weight for each row; it has shape (300, 1)."),
        (np.r_[np.nan, np.ones(299)], "Input sample_weight contains NaN."),
    ],
    ids=["negative", "zero", "short", "column", "nan"],
)
def test_bad_sample_weights_raise(data, weights, message):
    raises(ValueError, message, net().fit, *data, sample_weight=weights)


def test_other_columns_at_predict_raise(data):
    X, y = data
    raises(
        ValueError,
        "X has 4 features, but ImbalancedNetClassifier is expecting 5 features as input.",
        net().fit(X, y).predict,
        X[:, :4],
    )


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"size": 1.0, "colour": ["red"] * 300}),
        pd.DataFrame({"size": 1.0, "colour": pd.Categorical(["red"] * 300)}),
        pl.DataFrame({"size": [1.0] * 300, "colour": ["red"] * 300}),
    ],
    ids=["strings", "categories", "polars"],
)
def test_words_in_X_say_what_to_do(data, table):
    raises(
        ValueError,
        "X must hold numbers: could not convert string to float: 'red'. Encode categories first, for example with a "
        "ColumnTransformer and OneHotEncoder in a Pipeline.",
        net().fit,
        table,
        data[1],
    )


def test_words_in_a_dict_name_the_array(data):
    raises(
        ValueError,
        "X['colour'] must hold numbers: dtype='numeric' is not compatible with arrays of bytes/strings....",
        net().fit,
        {"colour": np.full((300, 1), "red")},
        data[1],
    )


def test_no_rows_raise(data):
    fitted = net().fit(*data)
    raises(
        ValueError,
        "X must have at least one row; it has none.",
        fitted.predict,
        torch.utils.data.TensorDataset(torch.zeros(0, 5)),
    )


def test_the_default_module_does_not_take_a_dict(data):
    X, y = data
    raises(
        ValueError,
        "the plain module MLP takes one array, and X holds ['a', 'b']. Pass a module whose forward takes these names.",
        net().fit,
        {"a": X, "b": X},
        y,
    )
    raises(
        ValueError,
        "the arrays in X must have as many rows as each other; they have {'a': 300, 'b': 9}.",
        net().fit,
        {"a": X, "b": X[:9]},
        y,
    )
    raises(
        ValueError,
        "X is an empty dict; it must hold an array for each argument of the module's forward.",
        net().fit,
        {},
        y,
    )


@pytest.mark.filterwarnings("ignore:columns of X should have about unit scale")
def test_a_loss_that_becomes_nan_stops_training_and_says_what_to_try(data):
    X, y = data
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        net(optimizer=torch.optim.SGD, lr=1e30, max_epochs=9).fit(X * 1e5, y)
    assert str(raised.value) == (
        "the training loss became nan or infinite in epoch 1. Try a smaller lr (it is 1e+30), features scaled to unit "
        "variance (StandardScaler) or gradient clipping (skorch.callbacks.GradientNormClipping)."
    )


def test_a_last_step_that_leaves_parameters_infinite_raises(data):
    with pytest.raises(ValueError, match="the training loss became nan or infinite in epoch 1"):
        net(optimizer=torch.optim.SGD, lr=np.inf, batch_size=-1, max_epochs=1, early_stopping=False).fit(*data)


def test_logits_that_are_not_finite_raise_rather_than_give_nan_probabilities(data):
    X, y = data[0].astype(np.float32), data[1]
    fitted = net().fit(X, y)
    X[0] = 3e38
    with pytest.raises(ValueError, match="the module returns nan or infinite logits for 1 of 300 rows"):
        fitted.predict_proba(X)


def test_partial_fit_says_what_it_needs(data):
    X, y = data
    raises(ValueError, "classes must be passed on the first call to partial_fit.", net().partial_fit, X, y)
    raises(
        ValueError,
        'partial_fit can\'t stop early: it makes one epoch. Set early_stopping to False or "auto".',
        net(early_stopping=True).partial_fit,
        X,
        y,
        classes=[0, 1],
    )
    fitted = net().partial_fit(X, y, classes=[0, 1])
    raises(
        ValueError,
        "classes must be the same in every call to partial_fit; they were [0, 1], now [0, 1, 2].",
        fitted.partial_fit,
        X,
        y,
        classes=[0, 1, 2],
    )
    raises(
        ValueError,
        "y has labels that are not in classes: [2]. The classes are [0, 1].",
        fitted.partial_fit,
        X,
        y * 2,
    )


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_predicting_before_fit_raises(data, method):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(net(), method)(data[0])


@pytest.mark.parametrize("method", ["save_params", "load_params"])
def test_saving_before_fit_raises(method):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(net(), method)(f_params="nowhere")
    assert not hasattr(net(), "module_")
    assert not hasattr(net(), "history_")


def test_a_failed_fit_leaves_the_fitted_net_as_it_was(data):
    X, y = data
    fitted = net().fit(X, y)
    before = fitted.predict_proba(X)
    fitted.set_params(class_weight="balancd")
    with pytest.raises(ValueError, match="Did you mean 'balanced'"):
        fitted.fit(X[:, :3], y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


class Whole(nn.Linear):
    """Rounds its logits to whole numbers."""

    def forward(self, X):
        return super().forward(X).round().long()


class Untrained(nn.Module):
    """Its logits are a column of X."""

    def forward(self, X):
        return X[:, :1]


class Undefined(nn.Linear):
    """Its logits are no numbers from the start."""

    def forward(self, X):
        return super().forward(X) * float("nan")


class OfTwo(nn.Module):
    """Asks for one size, and takes two arrays."""

    def __init__(self, n_features):
        super().__init__()

    def forward(self, a, b):
        return a


def no_batches(dataset, batch_size=1):
    return ()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"module": lambda n_features: "net"}, TypeError, "module must make a torch.nn.Module; it makes a str."),
        (
            {"module": Whole(5, 1)},
            TypeError,
            "module Whole must return logits of a floating dtype; it returns torch.int64.",
        ),
        (
            {"module": Untrained()},
            ValueError,
            "module Untrained must have parameters to train; its logits depend on none.",
        ),
        (
            {"module": Undefined(5, 1)},
            ValueError,
            "the module returns nan or infinite logits for 2 of 2 rows before any training. X may hold values that are "
            "too large for its dtype, or nan that the module does not take; or the module starts with weights that are "
            "not finite.",
        ),
        (
            {"callbacks__f1__scoring": "f1"},
            ValueError,
            "callbacks__f1 can't be set: there is no callback 'f1'. There are ['epoch_timer', 'print_log', "
            "'train_loss', 'valid_log_loss', 'valid_log_loss_corrected', 'valid_loss'].",
        ),
        (
            {"iterator_train": no_batches},
            ValueError,
            "epoch 1 had no batch to train on. Look at the length of the sampler or iterator that iterator_train or "
            "its parameters bring.",
        ),
        (
            {"iterator_valid": 3},
            TypeError,
            "iterator_valid must be a class such as torch.utils.data.DataLoader; it is 3.",
        ),
        (
            {"train_split": lambda dataset, y: 3},
            TypeError,
            "train_split must return two datasets, to train on and to validate on (or None); it returns int.",
        ),
        (
            {"sampling": TemperedSampling(1e308)},
            ValueError,
            "power must be such that n_c^power has a logarithm; it is 1e+308.",
        ),
        (
            {"device": "meta"},
            ValueError,
            "device must be one that this torch has, such as \"cpu\"; it is 'meta': tensors there have no values",
        ),
        (
            {"criterion": FocalLoss(alpha=0.3)},
            ValueError,
            "criterion FocalLoss can't take logits of shape (2, 3) and targets of shape (2,): alpha as a float serves "
            "two classes; there are 3. Pass a weight for each class.",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_a_part_can_not_be_or_do_raises(data, three_classes, parameters, error, message):
    raises(error, message, net(**parameters).fit, *(three_classes if "criterion" in parameters else data))


class Spoilt(Dataset):
    """Rows of a Dataset, the first of which is no number."""

    def __len__(self):
        return 300

    def __getitem__(self, i):
        return torch.full((5,), float(i) if i else float("nan"))


def test_rows_that_can_not_be_taken_raise(data):
    X, y = data
    raises(
        ValueError,
        "X must have a value everywhere; it is a masked array, and 2 of its 1500 values are masked. Fill them with "
        "filled(...), or leave those rows out.",
        net().fit,
        np.ma.masked_array(X, np.arange(1500).reshape(X.shape) < 2),
        y,
    )
    raises(ValueError, "X must be finite; its first rows hold nan or infinity.", net().fit, Spoilt(), y)
    message = "OfTwo asks for n_features, which this X does not tell; set module__n_features."
    raises(ValueError, message, net(OfTwo).fit, {"a": X, "b": X}, y)
    X = X.copy()
    X[7, 2] = -1e300
    raises(
        ValueError,
        "X must fit in float32, the dtype that it is converted to; it holds -1e+300 in the columns [2]. Scale it, for "
        "example with a StandardScaler, or choose another dtype.",
        net(dtype="float32").fit,
        X,
        y,
    )


def out_of_shape(form, place):
    X = getattr(sparse, f"{form}_matrix")(np.eye(300, 5))
    if form == "lil":
        X.rows[0] = [place]
    elif form == "coo":
        X.col[0] = place
    else:
        X.indices[0] = place
    return X


@pytest.mark.parametrize("method", ["fit", "predict"])
@pytest.mark.parametrize(
    ("form", "place", "reason"),
    [
        ("csr", 9, "must be < 5"),
        ("csr", -1, "must be >= 0"),
        ("coo", 9, "its indices go from 1 to 9 where there are 5"),
        ("lil", 9, "its indices go from 9 to 9 where there are 5"),
    ],
)
def test_a_sparse_matrix_with_indices_out_of_its_shape_raises(data, form, place, reason, method):
    estimator = net().fit(*data) if method == "predict" else net()
    args = [out_of_shape(form, place), data[1]][: 2 if method == "fit" else 1]
    before = "X must be a sparse matrix whose indices lie within its shape: "  # what follows is scipy's for csr
    with pytest.raises(ValueError, match=f"^{before}.*{reason}.$"):
        getattr(estimator, method)(*args)


def test_classes_of_partial_fit_must_be_two_at_least(data):
    message = "classes must have at least two labels to tell apart; it has ['a']."
    raises(ValueError, message, net().partial_fit, *data, classes=["a", "a"])


def test_rows_of_a_dataset_have_no_shape():
    with pytest.raises(AttributeError) as raised:
        Rows(Spoilt(), codes=None, dtype=None).shape  # noqa: B018
    assert str(raised.value) == "rows of a Spoilt have no one shape"


@pytest.mark.parametrize(
    ("content", "reason"),
    [("[]", "it holds no epoch"), ("{}", "it holds no list of epochs"), ("[3]", "it holds no list of epochs")],
)
def test_a_history_without_epochs_raises(data, tmp_path, content, reason):
    path = tmp_path / "history.json"
    path.write_text(content)
    message = f"f_history must be a file to which save_params wrote the history; {str(path)!r} can't be read so: "
    raises(ValueError, f"{message}ValueError: {reason}", net().fit(*data).load_params, f_history=path)


@pytest.mark.parametrize(
    ("parameters", "advice"),
    [
        ({"class_weight": torch.tensor([1.0, 2.0])}, "Pass the tensor's .numpy()."),
        (
            {"class_weight": pd.Series({0: 1.0, 1: 2.0})},
            "Pass the Series's .to_dict(), keyed by label, or .to_numpy().",
        ),
        ({"sampling": pd.Series({0: 5, 1: 5})}, "Pass the Series's .to_dict(), keyed by label, or .to_numpy()."),
        ({"prior_correction": torch.tensor([0.5, 0.5])}, "Pass the tensor's .numpy()."),
        ({"decision": pd.DataFrame([[0, 1], [5, 0]])}, "Pass the DataFrame's .to_numpy()."),
    ],
)
def test_a_tensor_or_table_where_an_array_or_dict_is_asked_for_says_what_to_pass(data, parameters, advice):
    with pytest.raises(TypeError) as raised:
        net(**parameters).fit(*data)
    assert str(raised.value).startswith(f"{next(iter(parameters))} must be")
    assert str(raised.value).endswith(advice)


@pytest.mark.parametrize("value", ["", "no", 1])
def test_switching_torch_compile_takes_a_bool(data, value):
    with pytest.raises(TypeError, match=r"compile must be True or False; it is"):
        net(compile=value).fit(*data)


def test_a_bool_is_no_random_state(data):
    with pytest.raises(ValueError, match=r"random_state must be None, an int in .*; it is True"):
        net(random_state=True).fit(*data)


def test_switching_off_a_callback_that_is_not_there_raises(data):
    with pytest.raises(ValueError, match="callbacks__nope can't be set: there is no callback 'nope'"):
        net(callbacks__nope=None).fit(*data)
    assert net(callbacks__print_log=None).fit(*data).n_iter_ == 2


@pytest.mark.parametrize("container", [list, lambda rows: np.array(rows, dtype=object)], ids=["list", "objects"])
def test_ints_beyond_64_bits_in_x_raise(data, container):
    rows = [[10**30] * 5] * 300
    with pytest.raises(ValueError, match="X must hold ints of at most 64 bits, or floats; it holds one of 31 digits"):
        net().fit(container(rows), data[1])


def test_stop_iteration_in_a_module_is_an_error(data):
    class Stops(nn.Linear):
        def forward(self, X):
            if self.training:
                raise StopIteration
            return super().forward(X)

    with pytest.raises(RuntimeError, match="module, criterion, optimizer or a callback raised StopIteration"):
        net(Stops).fit(*data)


def test_an_int_dtype_before_a_module_of_floats_is_named(data):
    with pytest.raises(ValueError, match=r"dtype='int64' makes ints of X, which only layers such as Embedding take"):
        net(dtype="int64").fit(*data)
