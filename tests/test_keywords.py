"""Names and values that belong to other packages get a sentence on ours, and parts that fail name their parameters."""

import re

import imblearn.combine
import imblearn.over_sampling
import imblearn.under_sampling
import numpy as np
import pytest
import torch
from skorch.callbacks import EpochScoring
from torch import nn

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._parameters.foreign_words import NAMES, VALUES
from imbalanced_torch._parameters.names import PREFIXES


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 1, "random_state": 0, **kwargs})


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_name_gets_a_sentence_on_ours(data, name):
    start = f"{name!r} is not a parameter of the classifier. {NAMES[name]} There are ["
    for call in (net(**{name: 1}).fit, lambda X, y: net().set_params(**{name: 1})):
        with pytest.raises(ValueError, match=f"^{re.escape(start)}"):
            call(*data)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_sentence_names_is_there(name):
    known = [*net().get_params(), "fit", "labels", "label"]
    for word in re.findall(r"(?<![\w.])([a-z_]+)(?:=|__)", NAMES[name]):
        assert word in known or word in PREFIXES or word == "ratio", word


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, words in VALUES.items() for word in words])
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_a_foreign_value_gets_a_sentence_on_ours(data, name, word, change):
    with pytest.raises((ValueError, TypeError), match=re.escape(f"{change(word)!r}")) as raised:
        net(**{name: change(word)}).fit(*data)
    assert str(raised.value).startswith(f"{name} must be ")
    assert str(raised.value).endswith(VALUES[name][word])


@pytest.mark.parametrize(
    "sampler",
    [
        imblearn.over_sampling.SMOTE(),
        imblearn.over_sampling.ADASYN,
        imblearn.under_sampling.TomekLinks(),
        imblearn.combine.SMOTEENN(),
    ],
)
def test_a_sampler_of_imbalanced_learn_goes_before_the_net(data, sampler):
    name = getattr(sampler, "__name__", type(sampler).__name__)
    with pytest.raises(TypeError, match=rf"^sampling must be .*; {name} makes new rows\. ") as raised:
        net(sampling=sampler).fit(*data)
    assert f"imblearn.pipeline.make_pipeline({name}(...), ImbalancedNetClassifier())" in str(raised.value)


class Stubborn(nn.Module):
    """A module that raises what it is given."""

    def __init__(self, error=None):
        super().__init__()
        if error is not None:
            raise error


class MyError(ValueError):
    """An error of the user's."""


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"optimizer__betas": []}, ValueError, "optimizer Adam can't be made with lr=0.001, optimizer__betas=[]: "),
        ({"optimizer__betas": 3}, TypeError, "optimizer Adam can't be made with lr=0.001, optimizer__betas=3: "),
        ({"optimizer__eps": "tiny"}, TypeError, "optimizer Adam can't be made with lr=0.001, optimizer__eps='tiny': "),
        ({"optimizer__weight_decay": -1}, ValueError, "optimizer Adam can't be made with lr=0.001, optimizer__weight_"),
        ({"optimizer__betas": (None, 2)}, TypeError, "optimizer Adam can't be made with lr=0.001, optimizer__betas="),
        ({"optimizer__capturable": True}, ValueError, "optimizer Adam can't be made with lr=0.001, optimizer__captur"),
        (
            {"optimizer": torch.optim.SGD, "optimizer__nesterov": True},
            ValueError,
            "optimizer SGD can't be made with lr=0.001, optimizer__nesterov=True: ",
        ),
        ({"callbacks__print_log": 3}, TypeError, "callbacks__print_log must be a skorch callback, or None for none; "),
        ({"callbacks__print_log": []}, TypeError, "callbacks__print_log must be a skorch callback, or None for none; "),
        ({"callbacks__print_log__sinc": print}, ValueError, "the callbacks can't be made with callbacks__print_log__"),
        (
            {"callbacks": [("f1", EpochScoring("f1"))], "callbacks__f1__score": 3},
            ValueError,
            "the callbacks can't be made with callbacks__f1__score=3: ",
        ),
        ({"iterator_train__num_workers": -1}, ValueError, "iterator_train can't be made with iterator_train__num_wor"),
        (
            {"iterator_train__timeout": "a"},
            ValueError,
            "iterator_train__timeout is how long to wait for workers; it needs ",
        ),
        ({"iterator_train__prefetch_factor": 2}, ValueError, "iterator_train can't be made with iterator_train__pref"),
        (
            {"module__hidden_sizes": 64},
            TypeError,
            "module MLP can't be made with module__hidden_sizes=64: hidden_sizes must be a sequence of ints, one for "
            "each hidden layer, such as (64, 64); it is 64.",
        ),
        (
            {"module__hidden_sizes": (8, 0)},
            ValueError,
            "module MLP can't be made with module__hidden_sizes=(8, 0): each of hidden_sizes must be at least 1; it is "
            "0.",
        ),
        (
            {"module__activation": "relu"},
            TypeError,
            "module MLP can't be made with module__activation='relu': activation must be a class of torch.nn.Module "
            "such as torch.nn.ReLU; it is 'relu'.",
        ),
        ({"module__dropout": 1.0}, ValueError, "module MLP can't be made with module__dropout=1.0: dropout must be in"),
        ({"module__dropout": True}, TypeError, "module MLP can't be made with module__dropout=True: dropout must be a"),
        (
            {"module": nn.Linear, "module__in_features": -3},
            ValueError,
            "module Linear can't be made with module__in_features=-3: Trying to create tensor with negative dimension",
        ),
        ({"train_split": object}, TypeError, "the held-out part can't be made with train_split=<class 'object'>: "),
        ({"iterator_train": object}, TypeError, "iterator_train can't be made with iterator_train=<class 'object'>: "),
        ({"iterator_train__sampler": 3}, TypeError, "iterator_train__sampler must be None or an iterable of "),
        ({"iterator_train__sampler": [0, 300]}, ValueError, "a sampler in iterator_train or iterator_valid must give "),
        ({"iterator_train__sampler": "ab"}, ValueError, "a sampler in iterator_train or iterator_valid must give "),
    ],
)
def test_a_part_that_can_not_be_made_names_its_parameters(data, parameters, error, message):
    with pytest.raises(error) as raised:
        net(**parameters).fit(*data)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("error", [MyError("mine"), ValueError("mine"), KeyError("mine"), RuntimeError(), TypeError()])
def test_an_error_that_the_users_code_raises_comes_as_it_is(data, error):
    for parameters in (
        {"module": Stubborn, "module__error": error},
        {"optimizer": failing(error), "optimizer__betas": 3},
        {"train_split": failing(error)},
        {"iterator_train": failing(error)},
        {"class_weight": failing(error)},
        {"sampling": failing(error)},
    ):
        with pytest.raises(type(error)) as raised:
            net(**parameters).fit(*data)
        assert raised.value is error


def test_an_activation_that_changes_the_size_is_named(data):
    with pytest.raises(ValueError, match=r"can't take a batch of .*The module was made with module__activation=<class"):
        net(module__activation=nn.GLU).fit(*data)


def test_an_optimizer_that_can_not_be_hashed_serves(data):
    class Factory:
        __hash__ = None

        def __call__(self, params, lr, momentum=0.0):
            return torch.optim.SGD(params, lr=lr, momentum=momentum)

    X, y = data
    fitted = net(optimizer=Factory(), optimizer__momentum=0.9).fit(X, y)
    expected = net(optimizer=torch.optim.SGD, optimizer__momentum=0.9).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    with pytest.raises(ValueError, match=r"optimizer__momentun can't be set: .* Did you mean 'optimizer__momentum'"):
        net(optimizer=Factory(), optimizer__momentun=0.9).fit(X, y)


def test_samplers_of_imbalanced_learn_that_make_no_rows_have_a_strategy_of_ours(data):
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    for sampler, ours in ((RandomOverSampler(), "OverSampling"), (RandomUnderSampler(), "UnderSampling")):
        with pytest.raises(TypeError, match=rf"for {type(sampler).__name__} pass \"\w+\" or {ours}\(ratio=\.\.\.\)"):
            ImbalancedNetClassifier(MLP, sampling=sampler).fit(*data)
