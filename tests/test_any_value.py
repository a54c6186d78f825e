"""Any value of any hyperparameter ends in a fit, or in an error that names the parameter, and changes nothing else."""

import contextlib
import io
import math
import random
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from imbalanced_torch import (
    MLP,
    BalancedBatches,
    DeferredSchedule,
    EffectiveNumber,
    FocalLoss,
    HeadRetraining,
    ImbalancedNetClassifier,
    OverSampling,
    TemperedSampling,
    TrainingCheckpoint,
    UnderSampling,
)

X = np.random.default_rng(0).normal(size=(24, 3))
Y = np.arange(24) % 4 // 3

OBJECTS_OF_OURS = (OverSampling, UnderSampling, TemperedSampling, EffectiveNumber, DeferredSchedule)

#: Numbers at the edges, but none so large that a fit with it would be right and take forever.
NUMBERS = st.sampled_from(
    [
        *(0, 1, 2, 3, -1, -2, 7, 10**400, -(10**400), 2**53, 2**63, True, False, np.True_),
        *(0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 1e-300, 5e-324, 1e300, -1e300, math.nan, math.inf, -math.inf, 1j),
        *(np.int8(3), np.uint8(2), np.int16(-1), np.uint64(2), np.float16(0.5), np.float32(0.5), np.float64("nan")),
        *(Fraction(1, 2), Fraction(10**400), Decimal("0.5"), np.array(0.5), np.array(2), torch.tensor(0.5)),
    ]
)
WORDS = st.sampled_from(
    [
        *("", " ", "auto", "balanced", "effective", "sqrt", "over", "under", "weighted", "batch", "focal", "ldam"),
        *("trained", "argmax", "deferred", "progressive", "retrain_head", "disable", "adam", "smote", "cpu", "cuda"),
        *("float32", "float64", "int64", "None", "Ünïcode", "a" * 500, "%s {x}", b"bytes", np.str_("over")),
    ]
)
LEAVES = st.one_of(NUMBERS, WORDS, st.none(), st.text(max_size=3))
OBJECTS = st.sampled_from(
    [
        *(object(), object, print, len, int, MLP, MLP(3), nn.Linear, nn.Linear(3, 1), nn.ReLU, nn.BCELoss, FocalLoss),
        *(nn.CrossEntropyLoss(), torch.optim.SGD, torch.optim.Adam, torch.float32, torch.float16, np.float32, range(3)),
        *(OverSampling(), OverSampling(math.nan), UnderSampling(5e-324), UnderSampling(None), TemperedSampling(1e300)),
        *(TemperedSampling(Fraction(1, 2)), TemperedSampling(0, ""), BalancedBatches(), EffectiveNumber("a")),
        *(EffectiveNumber(0.9), EffectiveNumber(1e-320), DeferredSchedule(0), DeferredSchedule(0.5)),
        *(HeadRetraining(10**400), DeferredSchedule(np.nan), np.random.RandomState(0), np.random.default_rng(0)),
        *(np.ones(2), np.ones((2, 2)), np.array(["a", "b"]), np.array([None, 1]), np.zeros(0), torch.ones(2)),
        *(Ellipsis, NotImplemented, ValueError("mine"), lambda *args, **kwargs: None, lambda counts: counts),
        *(set(), frozenset({1}), bytearray(b"a"), iter([1]), slice(1), torch.Generator(), torch.device("cpu")),
    ]
)
VALUES = st.one_of(
    LEAVES,
    OBJECTS,
    st.lists(LEAVES, max_size=3),
    st.tuples(LEAVES, LEAVES),
    st.dictionaries(st.sampled_from([0, 1, 2, "a", None]), LEAVES, max_size=2),
    st.dictionaries(
        st.sampled_from([0, 1]), st.dictionaries(st.sampled_from([0, 1]), LEAVES, max_size=2), min_size=1, max_size=2
    ),
)
NAMES = [
    *sorted(ImbalancedNetClassifier().get_params()),
    *("module__hidden_sizes", "module__activation", "module__dropout", "module__n_outputs", "module__n_features"),
    *("optimizer__betas", "optimizer__weight_decay", "optimizer__eps", "optimizer__foreach", "optimizer__amsgrad"),
    *("optimizer__lr", "optimizer__param_groups", "iterator_train", "iterator_train__batch_size"),
    *("iterator_train__drop_last", "iterator_train__shuffle", "iterator_train__sampler", "iterator_valid"),
    *("iterator_valid__batch_size", "iterator_train__timeout", "iterator_valid__prefetch_factor"),
    *("callbacks__print_log", "callbacks__train_loss", "callbacks__train_loss__on_train", "callbacks__nothing"),
    *("criterion__gamma", "criterion__weight", "sampling__ratio", "class_weight__beta", "schedule__start"),
    *("checkpoint__every", "unknown", "module", "use_caching", "dataset", "optimizer__", "__lr"),
]
#: What the object or the word is whose parameter the name is.
BESIDE = {
    "criterion__gamma": {"criterion": "focal"},
    "sampling__ratio": {"sampling": OverSampling()},
    "class_weight__beta": {"class_weight": EffectiveNumber()},
    "schedule__start": {"schedule": DeferredSchedule(), "class_weight": "balanced"},
    "schedule": {"class_weight": "balanced"},
    "checkpoint__every": {"checkpoint": TrainingCheckpoint("file")},
    "validation_fraction": {"early_stopping": True},
    "n_iter_no_change": {"early_stopping": True},
    "tol": {"early_stopping": True},
}


def state():
    """Everything of the process that a fit must leave alone."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch's stream": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "numpy's stream": (kind, keys.tolist(), rest),
        "Python's stream": random.getstate(),
        "warnings": list(warnings.filters),
        "numpy's errors": np.geterr(),
        "data": (X.tobytes(), Y.tobytes()),
    }


def names_of(name, value):
    """What an error about the parameter may call it: its own name, or that of the object or part that it belongs to."""
    owner, _, own = name.partition("__")
    return {name, own or owner, owner, *(value.get_params() if isinstance(value, OBJECTS_OF_OURS) else ())}


def error_of(estimator):
    """Fit, without a word, and return the error."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimator.fit(X, Y)
        except (ValueError, TypeError) as error:
            return error
    return None


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    """A folder for files, as any word may be the path of a checkpoint."""
    with contextlib.chdir(tmp_path_factory.mktemp("files")):
        yield


@pytest.mark.parametrize("name", NAMES)
@settings(derandomize=True, max_examples=20, deadline=None, database=None, phases=[Phase.generate])
@given(value=VALUES)
def test_any_value_ends_in_a_fit_or_in_an_error_that_names_the_parameter(name, value):
    if name == "max_epochs" and isinstance(value, int) and value > 100:
        return  # right, and without end
    parameters = {"max_epochs": 2, "random_state": 0, "batch_size": 8, **BESIDE.get(name, {}), name: value}
    text = repr(parameters)
    estimator = ImbalancedNetClassifier(**parameters)
    before = state()
    if name == "random_state" and value is None:
        before.pop("numpy's stream")  # from which the seed comes
    error = error_of(estimator)
    if error is not None:
        assert any(word in str(error) for word in names_of(name, value))
        assert len(str(error)) < 3000
        assert [attribute for attribute in vars(estimator) if attribute.endswith("_")] == []
    after = state()
    assert [what for what in before if before[what] != after[what]] == []
    params = estimator.get_params(deep=False)
    assert all(params[key] is given for key, given in parameters.items())
    assert repr(parameters) == text
