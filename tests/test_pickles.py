"""Pickles: of this version, and of another one with other fields."""

import copy
import pickle
import re
import warnings

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split

import imbalanced_torch
from imbalanced_torch import MLP, ImbalancedNetClassifier, MLPEnsemble, OverSampling, TunedOffsetClassifierCV

KEY = "_imbalanced_torch_version"
TORCHS = "__cuda_dependent_attributes__"  # what skorch pickles apart


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 3, "lr": 0.01, "random_state": 0, **kwargs})


@pytest.fixture(scope="module")
def pickled():
    """A fit on 300 rows, and these rows."""
    X, y = make_classification(300, n_features=5, weights=[0.85], random_state=0)
    return pickle.dumps(net().fit(X, y)), X, y


def tuned():
    return TunedOffsetClassifierCV(LogisticRegression(), n_candidates=5)


def from_version(version, estimator, without=()):
    """Return the estimator as a version without some attributes would have pickled it; None noted no version."""
    state = {name: value for name, value in estimator.__getstate__().items() if name not in {*without, KEY}}
    again = type(estimator).__new__(type(estimator))
    again.__setstate__(state if version is None else {**state, KEY: version})
    return again


def quietly_from(version, estimator, without=()):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        return from_version(version, estimator, without)


def tensors_in(value, path, seen):
    """Give the places of tensors in objects of skorch's and ours, but for those that skorch takes care of."""
    if isinstance(value, torch.Tensor):
        yield path
    if id(value) in seen or isinstance(value, torch.nn.Module | type):
        return
    seen.add(id(value))
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    else:
        parts = vars(value).items() if type(value).__module__.startswith(("imbalanced_torch", "skorch")) else ()
    for name, part in parts:
        yield from tensors_in(part, (*path, name), seen)


@pytest.mark.parametrize("settings", [{"module": MLPEnsemble}, {"early_stopping": True}, {"sampling": "weighted"}])
def test_a_fit_keeps_no_tensors_but_those_of_its_net(data, settings):
    fitted = net(**settings).fit(*data)
    assert [path for path in tensors_in(fitted, (), set()) if not path[1].startswith(("optimizer", "module"))] == []


@pytest.mark.parametrize("remedy", [{}, {"sampling": "over", "early_stopping": True}])
def test_pickle_joblib_and_deepcopy_keep_the_predictions(data, tmp_path, remedy):
    X, y = data
    fitted = net(**remedy, callbacks=[LRScheduler()]).fit(X, y)
    joblib.dump(fitted, tmp_path / "net.joblib")
    for again in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "net.joblib"), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
        again.set_params(early_stopping=False).partial_fit(X, y)


def test_a_pickle_holds_no_rows(data):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 5)), (rng.random(20_000) < 0.1).astype(int)
    fitted = net(max_epochs=1, sampling="over", train_split=predefined_split(Dataset(X[:5000], y[:5000])))
    fitted.set_params(train_split=None).fit(X, y)
    assert len(pickle.dumps(fitted)) < X.nbytes / 4


# The version


@pytest.mark.parametrize("make", [net, tuned])
def test_a_pickle_of_this_version_holds_it_and_loads_quietly(data, make):
    fitted = make().fit(*data)
    assert imbalanced_torch.__version__.encode() in pickle.dumps(fitted)
    before = vars(fitted).keys()
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), copy.copy(fitted), clone(fitted)):
        assert KEY not in vars(again)
        assert vars(again).keys() <= before
    assert vars(fitted).keys() == before


@pytest.mark.parametrize(
    "make", [net, tuned, lambda: net().fit(np.eye(4), [0, 1, 0, 1]).net_], ids=["net", "tuned", "inner"]
)
@pytest.mark.parametrize(
    ("version", "named"), [("0.0.9", "imbalanced-torch 0.0.9"), (None, "an unknown version of imbalanced-torch")]
)
def test_a_pickle_of_another_version_warns(make, version, named):
    estimator = make()
    with pytest.warns(InconsistentVersionWarning) as caught:
        from_version(version, estimator)
    assert str(caught[0].message) == (
        f"this {type(estimator).__name__} was pickled by {named}, and this is imbalanced-torch "
        f"{imbalanced_torch.__version__}: parameters that it lacked are at their defaults, and it may fail or predict "
        "otherwise. Fit it anew, or use it with the version that pickled it."
    )
    assert caught[0].message.estimator_name == type(estimator).__name__
    assert caught[0].message.original_sklearn_version == (version or "unknown")


def test_bytes_of_another_version_warn_for_the_estimator_and_its_net(data):
    here = imbalanced_torch.__version__
    content = pickle.dumps(net().fit(*data)).replace(here.encode(), b"9" * len(here))
    with pytest.warns(InconsistentVersionWarning) as caught:
        again = pickle.loads(content)
    assert [warning.message.estimator_name for warning in caught] == ["ImbalancedNet", "ImbalancedNetClassifier"]
    assert again.predict(data[0]).shape == (300,)
    with warnings.catch_warnings():  # written by this version now
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(again))


# Other fields

PARAMETERS = [name for name in vars(ImbalancedNetClassifier()) if name != "_kwargs"]


@pytest.mark.parametrize(
    ("version", "lacking"),
    [
        *(("0.0.9", [name]) for name in [*PARAMETERS, "_kwargs"]),
        *((version, [*PARAMETERS, "_kwargs"]) for version in ("0.0.9", None, imbalanced_torch.__version__)),
    ],
    ids=str,
)
def test_parameters_that_a_version_did_not_have_are_at_their_defaults(version, lacking):
    again = quietly_from(version, ImbalancedNetClassifier(lr=0.5, class_weight="sqrt"), lacking)
    defaults = ImbalancedNetClassifier().get_params()
    for name in [name for name in lacking if name != "_kwargs"]:
        assert again.get_params()[name] is defaults[name]
    assert repr(again).startswith("ImbalancedNetClassifier(")
    assert clone(again).get_params() == again.get_params()
    again.set_params(optimizer__weight_decay=0.1)
    assert "optimizer__weight_decay" not in ImbalancedNetClassifier().get_params()


@pytest.mark.parametrize("lacking", ["scoring", "n_candidates", "cv", "refit", "n_jobs"])
def test_so_are_those_of_tuned_offsets(lacking):
    again = quietly_from("0.0.9", tuned(), [lacking])
    assert again.get_params()[lacking] == TunedOffsetClassifierCV(LogisticRegression()).get_params()[lacking]
    assert lacking not in repr(again)


def test_an_estimator_without_what_has_no_default_says_so():
    again = quietly_from("0.0.9", tuned(), ["estimator"])
    with pytest.raises(NotFittedError) as caught:
        repr(again)
    assert str(caught.value) == (
        "this TunedOffsetClassifierCV has no estimator: it was pickled by imbalanced-torch 0.0.9, and this is "
        f"imbalanced-torch {imbalanced_torch.__version__}. Fit it anew, or use it with the version that pickled it."
    )


class Wide(ImbalancedNetClassifier):
    """An estimator with a parameter of its own."""

    def __init__(self, width=8, module=None, lr=0.3):
        super().__init__(module, lr=lr)
        self.width = width


def test_a_derived_estimator_has_its_own_defaults_and_ours():
    again = quietly_from("0.0.9", Wide(width=3, lr=0.1), ["width", "lr", "class_weight"])
    assert (again.width, again.lr, again.class_weight) == (8, 0.3, None)


def test_fields_that_only_the_other_version_had_do_no_harm(data):
    fitted = net().fit(*data)
    vars(fitted)["forgotten"], vars(fitted.net_)["forgotten_"] = 3, 4
    again = quietly_from("9.0", fitted)
    np.testing.assert_array_equal(again.predict_proba(data[0]), fitted.predict_proba(data[0]))
    assert "forgotten" not in repr(again)


def test_strategies_have_the_defaults_of_what_they_lack():
    strategy = OverSampling(0.5)
    del vars(strategy)["ratio"]
    assert pickle.loads(pickle.dumps(strategy)) == OverSampling()


USES = {
    "predict": lambda estimator, X, y: estimator.predict(X),
    "predict_proba": lambda estimator, X, y: estimator.predict_proba(X),
    "repr": lambda estimator, X, y: repr(estimator),
    "priors": lambda estimator, X, y: (estimator.class_prior_, estimator.effective_prior_),
    "partial_fit": lambda estimator, X, y: estimator.partial_fit(X, y),
    "fit": lambda estimator, X, y: estimator.fit(X, y),
}
FITTED = ["net_", "classes_", "class_priors_", "n_iter_", "best_epoch_", "n_features_in_", "row_shape_"]


@pytest.mark.parametrize("lacking", FITTED)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_fit_learned_and_a_version_lacks_is_named_where_it_is_needed(pickled, lacking, use):
    content, X, y = pickled
    again = quietly_from("0.0.9", pickle.loads(content), [lacking])
    assert not hasattr(again, lacking)
    said = _error_of(use, again, X, y)
    assert said is None or lacking == "net_" or "pickled by imbalanced-torch 0.0.9" in said
    again.fit(X, y).predict(X)


def _error_of(use, *args):
    """Return what the use says if it fails, which must be as before `fit`."""
    try:
        use(*args)
    except NotFittedError as error:
        return str(error)
    except ValueError as error:
        return re.match("classes must be passed on the first call to partial_fit", str(error)).string
    return None


NET_FIELDS = sorted(net(max_epochs=1).fit(np.eye(4), [0, 1, 0, 1]).net_.__getstate__().keys() - {KEY, TORCHS})


@pytest.mark.parametrize("lacking", NET_FIELDS)
def test_a_net_without_a_field_predicts_or_names_it(pickled, lacking):
    content, X, _ = pickled
    again = pickle.loads(content)
    before = again.predict_proba(X)
    again.net_ = quietly_from("0.0.9", again.net_, [lacking])
    said = _error_of(lambda: np.testing.assert_array_equal(again.predict_proba(X), before))
    assert said is None or f"this ImbalancedNet has no {lacking}: it was pickled by imbalanced-torch 0.0.9" in said


def test_an_estimator_of_this_version_has_pythons_own_errors(data):
    with pytest.raises(AttributeError, match="object has no attribute 'foo'"):
        net().fit(*data).foo  # noqa: B018
    with pytest.raises(AttributeError, match="object has no attribute 'net_'"):
        net().module_  # noqa: B018
