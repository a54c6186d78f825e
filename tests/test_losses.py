"""Losses for skewed classes: values by hand, limits, exact inverses, and what holds for each one in the registry."""

import inspect
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot
from torch.utils._python_dispatch import TorchDispatchMode

from imbalanced_torch import (
    MLP,
    AsymmetricLoss,
    FocalLoss,
    ImbalancedNetClassifier,
    LabelSmoothingLoss,
    LDAMLoss,
    LogitAdjustedLoss,
    VSLoss,
)
from imbalanced_torch._losses.row_loss import RowLoss
from imbalanced_torch._losses.weighted import LOSSES, resolve_criterion


class BrierLoss(RowLoss):
    """A loss from outside the package: two methods, and it goes through every test below."""

    def row_losses(self, logits, codes):
        return (torch.softmax(logits, dim=1) - one_hot(codes, logits.shape[1])).square().sum(dim=1)

    def scores(self, logits):
        return logits


COUNTS = {2: [80, 20], 3: [70, 25, 5]}
LOSS_CLASSES = {**LOSSES, "brier": BrierLoss}
#: The word, and parameters other than the defaults that the general tests run too.
CASES = [
    *((word, {}) for word in LOSS_CLASSES),
    ("focal", {"gamma": 0.5}),
    ("focal", {"alpha": [0.5, 1.5, 1.0]}),
    ("logit_adjusted", {"tau": 0.5}),
    ("ldam", {"max_margin": 1.0, "scale": 3.0}),
    ("vs", {"tau": 0.0, "gamma": 0.3}),
    ("asymmetric", {"gamma_positive": 1.0, "gamma_negative": 2.0}),
    ("asymmetric", {"clip": 0.05}),
]
SIZES = pytest.mark.parametrize("n_classes", [2, 3])
ALL = pytest.mark.parametrize(("word", "parameters"), CASES)


def make(word, n_classes, parameters=None, order=None, reduction="none"):
    """Return a loss with counts, its classes in another order if one is given."""
    order = np.arange(n_classes) if order is None else order
    parameters = {**(parameters or {})}
    if "alpha" in parameters:
        parameters["alpha"] = np.array(parameters["alpha"])[:n_classes][order]
    if "class_counts" in inspect.signature(LOSS_CLASSES[word]).parameters:
        parameters["class_counts"] = np.array(COUNTS[n_classes])[order]
    return LOSS_CLASSES[word](**parameters, reduction=reduction)


def draw(n_classes, n=40, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, n_classes, generator=generator, dtype=dtype)
    return logits, torch.randint(n_classes, (n,), generator=generator)


def cross_entropy(logits, codes):
    return nn.functional.cross_entropy(logits, codes, reduction="none")


@pytest.mark.parametrize(
    ("loss", "logits", "code", "expected"),
    [
        (FocalLoss(2.0), [0.0, np.log(3)], 1, 0.25**2 * np.log(4 / 3)),
        (FocalLoss(1.0, alpha=0.9), [0.0, np.log(3)], 0, 0.1 * 0.75 * np.log(4)),
        (FocalLoss(1.0, alpha=[3.0, 1.0]), [0.0, np.log(3)], 0, 3 * 0.75 * np.log(4)),
        (LogitAdjustedLoss([75, 25]), [0.0, np.log(3)], 1, np.log(2)),
        (LogitAdjustedLoss([75, 25], tau=2.0), [0.0, 2 * np.log(3)], 1, np.log(2)),
        (LDAMLoss([16, 1], max_margin=1.0), [0.0, 2.0], 1, np.log(1 + np.exp(-1))),
        (LDAMLoss([16, 1], max_margin=1.0, scale=2.0), [0.0, 2.0], 0, np.log(1 + np.exp(5))),
        (VSLoss([4, 1], gamma=0.5, tau=1.0), [0.0, 2.0], 1, np.log(1 + np.exp(-(1 - np.log(4))))),
        (VSLoss([4, 1], gamma=0.5, tau=1.0), [0.0, 2.0], 0, np.log(1 + np.exp(2 - np.log(4)))),
        (VSLoss([4, 1, 4], gamma=0.5, tau=0.0), [0.0, 2.0, 0.0], 1, np.log(1 + 2 * np.exp(-1))),
        (AsymmetricLoss(gamma_negative=2.0), [0.0, np.log(3)], 0, 0.75**2 * np.log(4)),
        (AsymmetricLoss(gamma_positive=1.0), [0.0, np.log(3)], 1, 0.25 * np.log(4 / 3)),
        (AsymmetricLoss([1, 9], gamma_negative=2.0), [0.0, -np.log(3)], 1, 0.75**2 * np.log(4)),
        (AsymmetricLoss(gamma_negative=2.0, clip=0.25), [0.0, np.log(3)], 0, 0.5**2 * np.log(2)),
        (LabelSmoothingLoss(0.2), [0.0, np.log(3)], 1, 0.9 * np.log(4 / 3) + 0.1 * np.log(4)),
    ],
)
def test_the_loss_is_worked_by_hand(loss, logits, code, expected):
    logits = torch.tensor([logits], dtype=torch.float64)
    assert loss(logits, torch.tensor([code])).item() == pytest.approx(expected, rel=1e-12)
    if logits.shape[1] == 2:
        assert loss(logits[:, 1] - logits[:, 0], torch.tensor([float(code)])).item() == pytest.approx(expected)


@SIZES
@pytest.mark.parametrize(
    ("word", "parameters"),
    [
        ("focal", {"gamma": 0.0}),
        ("logit_adjusted", {"tau": 0.0}),
        ("ldam", {"max_margin": 0.0, "scale": 1.0}),
        ("vs", {"gamma": 0.0, "tau": 0.0}),
        ("label_smoothing", {"smoothing": 0.0}),
        ("asymmetric", {"gamma_positive": 0.0, "gamma_negative": 0.0}),
    ],
)
def test_at_its_limit_a_loss_is_cross_entropy(word, parameters, n_classes):
    logits, codes = draw(n_classes)
    expected = cross_entropy(logits, codes)
    if word == "asymmetric" and n_classes > 2:  # one class against the rest
        targets = one_hot(codes, n_classes).double()
        expected = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    loss = make(word, n_classes, parameters)
    assert (loss(logits, codes) - expected).abs().max() <= 1e-12
    if word != "asymmetric" or n_classes == 2:
        proba = loss.probabilities(logits)
        np.testing.assert_allclose(proba, torch.softmax(logits, dim=1), atol=1e-12)


@SIZES
def test_logit_adjustment_is_balanced_softmax(n_classes):
    logits, codes = draw(n_classes)
    counts = torch.tensor(COUNTS[n_classes])
    balanced = -(counts[codes] * logits.exp()[range(40), codes] / (counts * logits.exp()).sum(1)).log()
    assert (make("logit_adjusted", n_classes)(logits, codes) - balanced).abs().max() <= 1e-12


@SIZES
def test_vs_without_factors_is_logit_adjustment(n_classes):
    logits, codes = draw(n_classes)
    one = make("vs", n_classes, {"gamma": 0.0, "tau": 0.7})(logits, codes)
    assert (one - make("logit_adjusted", n_classes, {"tau": 0.7})(logits, codes)).abs().max() <= 1e-12


def test_label_smoothing_is_torchs_where_nothing_is_weighted():
    logits, codes = draw(3)
    theirs = nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none")(logits, codes)
    np.testing.assert_allclose(LabelSmoothingLoss(0.1, reduction="none")(logits, codes), theirs, rtol=1e-12)


# What holds for every loss


@pytest.mark.parametrize("weights", [None, [3.0, 0.5, 1.0]], ids=["unweighted", "weighted"])
@SIZES
@ALL
def test_probabilities_are_the_exact_inverse_at_the_least_loss(word, parameters, n_classes, weights):
    """At the logits that minimise sum_c p_c w_c loss_c, the probabilities are p_c w_c, normalised."""
    loss = make(word, n_classes, parameters)
    if not loss.exact:
        with pytest.raises(ValueError, match="has no probabilities: many share one least loss"):
            loss.probabilities(torch.zeros(1, n_classes))
        return
    p = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(n_classes), 20)) * 0.96 + 0.04 / n_classes
    weighted = p * torch.tensor([1.0] * n_classes if weights is None else weights[:n_classes], dtype=torch.float64)
    logits = torch.zeros(20, n_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=3000, line_search_fn="strong_wolfe", tolerance_grad=1e-13, tolerance_change=1e-18
    )

    def closure():
        optimizer.zero_grad()
        risk = sum((weighted[:, c] * loss(logits, torch.full((20,), c))).sum() for c in range(n_classes))
        risk.backward()
        return risk

    for _ in range(5):
        optimizer.step(closure)
    expected = weighted / weighted.sum(1, keepdim=True)
    np.testing.assert_allclose(loss.probabilities(logits.detach()), expected, atol=1e-6)


@SIZES
@ALL
def test_training_starts_where_the_probabilities_are_the_prior(word, parameters, n_classes):
    loss, prior = make(word, n_classes, parameters), torch.tensor(COUNTS[n_classes], dtype=torch.float64) / 100
    start = loss.start_logits(prior.log())
    if loss.exact:
        np.testing.assert_allclose(loss.probabilities(start[None])[0], prior, atol=1e-6)
    every = torch.arange(n_classes)
    risk, nearby = (
        prior @ loss((start + shift).expand(n_classes, -1), every)
        for shift in (torch.zeros(n_classes), 0.1 * torch.eye(n_classes)[0])
    )
    assert risk <= nearby + 1e-9


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@SIZES
@ALL
def test_loss_and_gradient_are_finite_at_logits_of_100(word, parameters, n_classes, dtype):
    logits = torch.tensor([[100.0, -100.0, 0.0], [-100.0, 100.0, 50.0], [100.0, 100.0, -100.0]], dtype=dtype)
    logits = logits[:, :n_classes].clone().requires_grad_()
    loss = make(word, n_classes, parameters)
    for code in range(n_classes):
        losses = loss(logits, torch.full((3,), code))
        assert torch.isfinite(losses).all()
        assert torch.isfinite(torch.autograd.grad(losses.sum(), logits)[0]).all()
    if loss.exact:
        log_proba = loss.log_probabilities(logits.detach().double())
        assert torch.isfinite(log_proba).all()
        np.testing.assert_allclose(log_proba.exp().sum(1), 1)


@SIZES
@ALL
def test_the_gradient_is_right(word, parameters, n_classes):
    logits, codes = draw(n_classes, n=6)
    loss = make(word, n_classes, parameters)
    assert torch.autograd.gradcheck(lambda z: loss(z, codes), logits.requires_grad_())


@SIZES
@ALL
def test_integer_weights_are_duplicated_rows(word, parameters, n_classes):
    logits, codes = draw(n_classes)
    criterion = resolve_criterion(make(word, n_classes, parameters), n_classes, {}).double()
    criterion.set_classes(np.arange(1.0, n_classes + 1), np.array(COUNTS[n_classes]))
    repeats = codes + 1
    weighted = criterion(logits, codes) * 40 / repeats.sum()
    criterion.set_classes(np.ones(n_classes), np.array(COUNTS[n_classes]))
    plain = criterion(logits.repeat_interleave(repeats, 0), codes.repeat_interleave(repeats))
    assert abs(weighted - plain) <= 1e-10 * abs(plain)


@SIZES
@ALL
def test_classes_may_come_in_another_order(word, parameters, n_classes):
    logits, codes = draw(n_classes)
    order = np.arange(n_classes)[::-1].copy()
    one, other = make(word, n_classes, parameters), make(word, n_classes, parameters, order)
    np.testing.assert_allclose(other(logits[:, order], n_classes - 1 - codes), one(logits, codes), rtol=1e-12)
    if one.exact:
        proba = one.probabilities(logits)
        np.testing.assert_allclose(other.probabilities(logits[:, order])[:, order], proba, rtol=1e-10, atol=1e-14)


@ALL
def test_one_logit_is_two_logits(word, parameters):
    logits, codes = draw(2)
    loss, f = make(word, 2, parameters), logits[:, 1] - logits[:, 0]
    for one in (f, f[:, None]):
        np.testing.assert_allclose(loss(one, codes.double()), loss(logits, codes), rtol=1e-12)
        if loss.exact:
            np.testing.assert_allclose(loss.probabilities(one), loss.probabilities(logits), rtol=1e-10)


@ALL
def test_a_loss_pickles_and_reduces(word, parameters):
    logits, codes = draw(3)
    losses = make(word, 3, parameters)(logits, codes)
    again = pickle.loads(pickle.dumps(make(word, 3, parameters, reduction="mean")))
    assert again(logits, codes) == pytest.approx(losses.mean())
    assert make(word, 3, parameters, reduction="sum")(logits, codes) == pytest.approx(losses.sum())


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # by torch, on Python 3.13.0
@SIZES
@ALL
def test_a_loss_compiles_in_one_graph_and_runs_on_another_device(word, parameters, n_classes):
    logits, codes = draw(n_classes)
    loss = make(word, n_classes, parameters)
    torch._dynamo.reset()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    np.testing.assert_allclose(compiled(logits, codes), loss(logits, codes), rtol=1e-12)
    loss.to("meta")
    assert loss(logits.to("meta"), codes.to("meta")).device.type == "meta"
    if loss.exact:
        assert loss.probabilities(logits.to("meta")).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@ALL
def test_a_loss_runs_on_a_gpu(word, parameters):
    logits, codes = draw(3)
    loss = make(word, 3, parameters)
    expected = loss(logits, codes)
    np.testing.assert_allclose(loss.cuda()(logits.cuda(), codes.cuda()).cpu(), expected, rtol=1e-9)


# Behind the estimator


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 5, "lr": 0.01, "random_state": 0, **kwargs})


@pytest.mark.parametrize("word", LOSSES)
def test_every_word_trains_with_both_remedies_and_weights(data, three_classes, word):
    for X, y in (data, three_classes):
        weights = np.random.default_rng(0).random(300) + 0.5
        fitted = net(criterion=word, class_weight="sqrt", sampling="over", prior_correction=True, max_epochs=15)
        fitted.fit(X, y, sample_weight=weights)
        assert fitted.score(X, y) > 0.65
        np.testing.assert_allclose(fitted.predict_proba(X).sum(1), 1)


@pytest.mark.parametrize(
    ("sampling", "expected"), [(None, [255, 45]), ("over", [255, 255]), ("under", [45, 45]), ({1: 90}, [255, 90])]
)
@pytest.mark.parametrize("word", ["logit_adjusted", "ldam", "vs", "asymmetric"])
def test_a_loss_is_given_the_rows_that_are_sampled(word, sampling, expected):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), np.repeat([0, 1], [255, 45])
    fitted = net(criterion=word, sampling=sampling, max_epochs=1).fit(X, y)
    counts = fitted.net_.criterion_.criterion.class_counts
    np.testing.assert_allclose(counts / counts.sum(), np.array(expected) / sum(expected), rtol=1e-6)


def test_counts_of_the_users_are_kept(data):
    fitted = net(criterion="logit_adjusted", criterion__class_counts=[1, 3], max_epochs=1).fit(*data)
    assert fitted.net_.criterion_.criterion.class_counts.tolist() == [1, 3]
    instance = LDAMLoss([5, 2])
    fitted = net(criterion=instance, max_epochs=1).fit(*data)
    assert fitted.net_.criterion_.criterion.class_counts.tolist() == [5, 2]
    assert instance.reduction == "mean"


@pytest.mark.parametrize(
    ("word", "instance"),
    [("asymmetric", AsymmetricLoss()), ("logit_adjusted", LogitAdjustedLoss()), ("ldam", LDAMLoss())],
)
def test_an_instance_without_counts_is_its_word(data, word, instance):
    X, y = data[0], np.array(["ok", "fraud"])[data[1]]  # the rarer class comes first
    fitted, expected = (net(criterion=criterion).fit(X, y) for criterion in (instance, word))
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    assert instance.class_counts is None


def test_counts_add_up_over_calls_of_partial_fit(data):
    X, y = data
    order = np.argsort(y)
    fitted = net(criterion="logit_adjusted")
    fitted.partial_fit(X[order[:100]], y[order[:100]], classes=[0, 1])
    fitted.partial_fit(X[order[100:]], y[order[100:]])
    np.testing.assert_allclose(fitted.net_.criterion_.criterion.class_counts, np.bincount(y))


def test_logit_adjustment_decides_for_balanced_accuracy_and_its_probabilities_are_those_of_the_data(data):
    X, y = data
    fitted = net(criterion="logit_adjusted", max_epochs=30).fit(X, y)
    assert fitted.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.03)
    as_trained = fitted.predict(X)
    np.testing.assert_array_equal(fitted.set_params(decision="balanced").predict(X), as_trained)
    assert fitted.set_params(decision="argmax").predict(X).sum() < as_trained.sum()


def test_parameters_of_a_loss_are_searched(data):
    from sklearn.model_selection import GridSearchCV

    grid = [{"criterion": ["focal"], "criterion__gamma": [0.0, 3.0]}, {"criterion": [None, "vs"]}]
    search = GridSearchCV(net(), grid, scoring="neg_log_loss", cv=2).fit(*data)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == pytest.approx(scores[2])  # gamma = 0 is cross-entropy
    assert len(set(scores.round(6))) == 3


def test_a_loss_without_probabilities_ranks_and_decides_but_says_that_it_has_none(data):
    X, y = data
    fitted = net(criterion="asymmetric", criterion__clip=0.05, early_stopping=True, max_epochs=20).fit(X, y)
    assert fitted.score(X, y) > 0.8
    assert fitted.net_.monitored == "valid_loss"
    assert fitted.decision_function(X).shape == (300,)
    with pytest.raises(ValueError, match=r"AsymmetricLoss\(clip=0.05\) has no probabilities: many share one"):
        fitted.predict_proba(X)
    with pytest.raises(ValueError, match="prior_correction=True needs a criterion whose logits give exact"):
        net(criterion="asymmetric", criterion__clip=0.05, prior_correction=True).fit(X, y)


@pytest.mark.parametrize(
    ("make_loss", "message"),
    [
        (lambda: FocalLoss(-1.0), "gamma must not be negative; it is -1.0."),
        (lambda: FocalLoss("much"), "gamma must be a finite number; it is 'much'."),
        (
            lambda: FocalLoss(alpha=1.5),
            "alpha must be positive for each class, or a float in (0, 1); it is 1.5.",
        ),
        (lambda: LogitAdjustedLoss([1, 1], tau=np.nan), "tau must be a finite number; it is nan."),
        (lambda: LDAMLoss([1, 1], scale=0.0), "scale must be positive; it is 0.0."),
        (lambda: LDAMLoss([1, 1], max_margin=-0.5), "max_margin must not be negative; it is -0.5."),
        (lambda: VSLoss([1, -1]), "class_counts must hold a count of at least 0 for each class; it is [1, -1]."),
        (lambda: AsymmetricLoss(clip=1.0), "clip must be in [0, 1); it is 1.0."),
        (lambda: LabelSmoothingLoss(1.0), "smoothing must be in [0, 1); it is 1.0."),
        (lambda: LabelSmoothingLoss(reduction="avg"), "reduction must be 'mean', 'sum' or 'none'; it is 'avg'."),
        (
            lambda: LogitAdjustedLoss()(torch.zeros(1, 2), torch.tensor([0])),
            "LogitAdjustedLoss needs class_counts, the rows of each class.",
        ),
        (
            lambda: LogitAdjustedLoss([1, 2, 3])(torch.zeros(1, 2), torch.tensor([0])),
            "class_counts must have one count for each of 2 classes; it has 3.",
        ),
        (
            lambda: resolve_criterion("balanced_softmax", 2, {}),
            "criterion must be one of the words ['asymmetric', 'focal', 'label_smoothing', 'ldam', 'logit_adjusted', "
            "'vs']; it is 'balanced_softmax'. Did you mean 'logit_adjusted'?",
        ),
        (
            lambda: resolve_criterion("focal", 2, {"gama": 1}),
            "criterion__gama can't be set: FocalLoss has no parameter 'gama'. Did you mean 'criterion__gamma'? It has "
            "['gamma', 'alpha', 'reduction'].",
        ),
    ],
)
def test_error_says_what_must_hold_what_came_and_the_choices(make_loss, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        make_loss()
    assert str(raised.value) == message


# Numbers as far as they go

#: Beyond CASES, parameters so great or so small that what they make is beyond a dtype.
FAR = [
    ("focal", {"gamma": 1e308}),
    ("focal", {"gamma": 1e-300}),
    ("focal", {"alpha": np.geomspace(5e-324, 1e308, 10).tolist()}),
    ("ldam", {"scale": 1000.0}),
    ("ldam", {"scale": 1e308, "max_margin": 1e308}),
    ("ldam", {"scale": 1e-300}),
    ("vs", {"gamma": 1e308, "tau": 1e308}),
    ("vs", {"gamma": 50.0, "tau": -1e308}),
    ("logit_adjusted", {"tau": 1e308}),
    ("asymmetric", {"gamma_positive": 100.0, "gamma_negative": 1e308}),
    ("asymmetric", {"clip": 1e-300, "gamma_negative": 0.5}),
    ("label_smoothing", {"smoothing": 0.0}),
    ("label_smoothing", {"smoothing": 1 - 1e-16}),
]
WORDS = [(word, parameters) for word, parameters in [*CASES, *FAR] if word in LOSSES]
FORMS = pytest.mark.parametrize("n_logits", [1, 2, 3, 10], ids="{} logits".format)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def counted(word, n_classes, parameters):
    """Return a loss whose rarest class has one row in 1e5."""
    parameters = {**parameters}
    if "alpha" in parameters:
        parameters["alpha"] = np.resize(parameters["alpha"], n_classes)
    if "class_counts" in inspect.signature(LOSS_CLASSES[word]).parameters:
        parameters["class_counts"] = np.geomspace(1e5, 1, n_classes)
    return LOSS_CLASSES[word](**parameters, reduction="none")


def logits_of_every_size(n_logits, dtype):
    """Return rows of mixed signs, of ties, and of one huge logit among small ones, up to the dtype's largest number."""
    largest = torch.finfo(dtype).max
    generator = torch.Generator().manual_seed(0)
    rows = []
    for size in (0.0, torch.finfo(dtype).tiny, 1e-3, 1.0, 30.0, 1e3, 1e4, 1e10, largest / 4, largest):
        noise = 2 * torch.rand(5, n_logits, generator=generator, dtype=torch.float64) - 1
        ties = torch.ones(1, n_logits, dtype=torch.float64)
        rows += [noise * size, noise.sign() * size, ties * size, ties * -size]
        for logit in range(n_logits):
            one_huge = torch.rand(2, n_logits, generator=generator, dtype=torch.float64)
            one_huge[:, logit] = torch.tensor([size, -size], dtype=torch.float64)
            rows.append(one_huge)
    return torch.cat(rows).to(dtype)


@DTYPES
@FORMS
@pytest.mark.parametrize(("word", "parameters"), WORDS)
def test_losses_and_probabilities_are_finite_for_all_finite_logits(word, parameters, n_logits, dtype):
    loss, logits = counted(word, max(n_logits, 2), parameters), logits_of_every_size(n_logits, dtype)
    for code in range(max(n_logits, 2)):
        losses = loss(logits, torch.full((len(logits),), code))
        assert torch.isfinite(losses).all()
        assert (losses >= 0).all()
    if loss.exact:
        log_proba, proba = loss.log_probabilities(logits), loss.probabilities(logits)
        assert torch.isfinite(log_proba).all()
        assert torch.isfinite(proba).all()
        np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)


@DTYPES
@FORMS
@pytest.mark.parametrize(("word", "parameters"), [case for case in CASES if case[0] in LOSSES])
def test_gradients_are_finite_for_all_finite_logits(word, parameters, n_logits, dtype):
    loss, logits = counted(word, max(n_logits, 2), parameters), logits_of_every_size(n_logits, dtype).requires_grad_()
    for code in range(max(n_logits, 2)):
        losses = loss(logits, torch.full((len(logits),), code))
        assert torch.isfinite(torch.autograd.grad(losses.sum(), logits)[0]).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@SIZES
def test_gradients_are_finite_where_a_clip_drops_a_row(gamma, n_classes):
    logits = torch.linspace(-20, 20, 7 * n_classes).reshape(7, n_classes).requires_grad_()
    losses = AsymmetricLoss(gamma_negative=gamma, clip=0.1)(logits, torch.zeros(7).long())
    assert torch.isfinite(torch.autograd.grad(losses, logits)[0]).all()


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4, 1e6])
@SIZES
@pytest.mark.parametrize(("word", "parameters"), [case for case in CASES if case[0] in LOSSES])
def test_single_precision_tells_the_same_log_probabilities(word, parameters, n_classes, size):
    loss = make(word, n_classes, parameters)
    if loss.exact:
        logits = (size / 3 * draw(n_classes)[0]).float()
        single, double = loss.log_probabilities(logits), loss.log_probabilities(logits.double())
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-5 * size)


@DTYPES
@pytest.mark.parametrize("criterion", [None, nn.CrossEntropyLoss])
def test_log_probabilities_of_cross_entropy_too_low_for_a_dtype_are_its_lowest_number(criterion, dtype):
    limits = torch.finfo(dtype)
    for n_classes in (2, 3):
        logits = torch.tensor([[limits.max, limits.min, 0.0], [0.0, limits.max, 0.0]], dtype=dtype)[:, :n_classes]
        log_proba = resolve_criterion(criterion, n_classes, {}).log_proba(logits)
        assert log_proba[:, :2].tolist() == [[0.0, limits.min], [limits.min, 0.0]]


# Where training starts


@pytest.mark.parametrize("n_classes", [2, 3, 40])
@pytest.mark.parametrize("kind", ["equal", "one in a million", "of many sizes"])
@pytest.mark.parametrize(
    ("word", "parameters"),
    [
        *(case for case in CASES if case[0] in LOSSES and "clip" not in case[1]),
        ("focal", {"gamma": 100.0}),
        ("ldam", {"scale": 30.0}),
        ("ldam", {"scale": 1000.0, "max_margin": 1.0}),
        ("vs", {"gamma": 2.0}),
        ("asymmetric", {"gamma_positive": 5.0, "gamma_negative": 0.0}),
        ("label_smoothing", {"smoothing": 0.9}),
    ],
)
def test_training_starts_where_the_risk_has_no_slope(word, parameters, kind, n_classes):
    shares = {
        "equal": np.ones(n_classes),
        "one in a million": np.r_[1e-6, np.ones(n_classes - 1)],
        "of many sizes": np.geomspace(1, 1e-5, n_classes),
    }[kind]
    prior = torch.from_numpy(shares / shares.sum())
    for order in (1, -1):
        parameters = {**parameters}
        if "alpha" in parameters:
            parameters["alpha"] = np.resize(parameters["alpha"], n_classes)
        if "class_counts" in inspect.signature(LOSSES[word]).parameters:
            parameters["class_counts"] = 1e7 * shares[::order]
        loss = LOSSES[word](**parameters, reduction="none")
        start = loss.start_logits(prior.log())
        every = torch.arange(n_classes)
        logits = start.expand(n_classes, -1).clone().requires_grad_()
        (slope,) = torch.autograd.grad(prior @ loss(logits, every), logits)
        assert slope.sum(0).abs().max() <= 1e-12 * max(1, parameters.get("scale", 1))
        if word != "label_smoothing":  # whose probabilities are 1e-6 at least
            np.testing.assert_allclose(loss.log_probabilities(start[None])[0], prior.log(), atol=1e-9)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that is made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return made


@pytest.mark.parametrize("parameters", [{}, {"clip": 0.05}], ids=str)
@pytest.mark.parametrize("word", LOSSES)
def test_the_start_of_many_classes_needs_no_matrix_of_classes(word, parameters):
    if parameters and word != "asymmetric":
        return
    loss, prior = counted(word, 3000, parameters), torch.full((3000,), 1 / 3000, dtype=torch.float64)
    with Largest() as largest:
        start = loss.start_logits(prior.log())
    assert start.shape == (3000,)
    assert largest.size <= 2 * 3000


def test_a_loss_from_outside_starts_at_the_log_prior_where_there_are_many_classes():
    log_prior = torch.from_numpy(np.geomspace(1, 1e-3, 1000)).log_softmax(0)
    with Largest() as largest:
        start = BrierLoss().start_logits(log_prior)
    assert torch.equal(start, log_prior)
    assert largest.size <= 1000


# Targets


@SIZES
@ALL
def test_the_loss_of_class_probabilities_is_the_expected_loss(word, parameters, n_classes):
    loss, (logits, _) = make(word, n_classes, parameters), draw(n_classes)
    proba = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(n_classes), 40))
    every = [loss(logits, torch.full((40,), code)) for code in range(n_classes)]
    expected = (proba * torch.stack(every, dim=1)).sum(1)
    np.testing.assert_allclose(loss(logits, proba), expected, rtol=1e-10)
    assert torch.autograd.gradcheck(lambda z: loss(z, proba[:5]), logits[:5].clone().requires_grad_())


@ALL
def test_a_target_between_0_and_1_beside_one_logit_is_a_probability(word, parameters):
    loss, (logits, _) = make(word, 2, parameters), draw(2)
    f, share = logits[:, 0], torch.linspace(0, 1, 40, dtype=torch.float64)
    expected = (1 - share) * loss(f, torch.zeros(40)) + share * loss(f, torch.ones(40))
    for one, target in [(f, share), (f[:, None], share[:, None]), (f[:, None], share)]:
        np.testing.assert_allclose(loss(one, target), expected, rtol=1e-10)
    np.testing.assert_allclose(loss(f, torch.stack([1 - share, share], 1)), expected, rtol=1e-10)


@ALL
def test_codes_may_be_of_any_number_type_and_as_deep_as_one_logit(word, parameters):
    logits, codes = draw(2)
    loss = make(word, 2, parameters)
    expected = loss(logits, codes)
    for kind in (torch.bool, torch.uint8, torch.int32, torch.float32):
        np.testing.assert_allclose(loss(logits, codes.to(kind)), expected)
        f = logits[:, 1:] - logits[:, :1]
        np.testing.assert_allclose(loss(f, codes[:, None].to(kind)), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        ((3, 3), [0, 1, 3], "targets must be class codes 0..2; they hold 3."),
        ((3, 3), [0, -1, -2], "targets must be class codes 0..2; they hold -1, -2."),
        (
            (2, 3),
            [0.5, 1.0],
            "targets must be class codes 0..2; they hold 0.5. Class probabilities have shape (2, 3).",
        ),
        (
            (2, 2),
            [np.nan, 1.0],
            "targets must be class codes 0..1; they hold nan. Class probabilities have shape (2, 2).",
        ),
        ((2,), [2, 1], "targets must be class codes 0..1; they hold 2."),
        (
            (2, 1),
            [1.5, 1.0],
            "targets beside one logit must be 0, 1 or a probability of class 1 between them; they hold 1.5.",
        ),
        (
            (2,),
            [np.nan, 1.0],
            "targets beside one logit must be 0, 1 or a probability of class 1 between them; they hold nan.",
        ),
        (
            (2, 3),
            [[0], [1]],
            "targets for logits of shape (2, 3) must be class codes 0..2 of shape (2,), or class probabilities of "
            "shape (2, 3); they have shape (2, 1).",
        ),
        (
            (3, 1),
            [0, 1],
            "targets for logits of shape (3, 1) must be class codes 0..1 of shape (3,), probabilities of class 1 of "
            "shape (3,) or (3, 1), or class probabilities of shape (3, 2); they have shape (2,).",
        ),
        (
            (2, 3),
            [[0.2, 0.3, 0.5], [0.2, 0.3, 0.6]],
            "targets of shape (2, 3) must be class probabilities, not negative and with a sum of 1 in each row; row 1 "
            "is [0.2, 0.3, 0.6].",
        ),
        ((2, 3, 4), [0, 1], "logits must have shape (n,), (n, 1) or (n, K); they have shape (2, 3, 4)."),
    ],
)
@pytest.mark.parametrize("word", LOSSES)
def test_targets_that_are_none_raise(word, logits, targets, message):
    loss = counted(word, logits[1] if len(logits) > 1 and logits[1] > 1 else 2, {})
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        loss(
            torch.zeros(logits),
            torch.tensor(targets, dtype=torch.float64 if np.array(targets).dtype == float else None),
        )
    assert str(raised.value) == message


@pytest.mark.parametrize("word", LOSSES)
def test_logits_and_targets_of_another_kind_raise(word):
    with pytest.raises(TypeError, match=r"logits must be a tensor of a floating dtype; they are of torch.int64\."):
        counted(word, 2, {})(torch.zeros(2, 2, dtype=torch.int64), torch.tensor([0, 1]))
    with pytest.raises(
        TypeError, match="targets must be a tensor of class codes or of class probabilities; they are a"
    ):
        counted(word, 2, {})(torch.zeros(2, 2), [0, 1])


@pytest.mark.parametrize(
    ("make_loss", "message"),
    [
        (lambda: FocalLoss(gamma=True), "gamma must be a finite number; it is True."),
        (lambda: FocalLoss(gamma=10**400), f"gamma must be a finite number; it is {10**400}."),
        (
            lambda: FocalLoss(alpha="many"),
            "alpha must be positive for each class, or a float in (0, 1); it is 'many'.",
        ),
        (
            lambda: FocalLoss(alpha=np.float32(0.25))(torch.zeros(2, 3), torch.tensor([0, 1])),
            "alpha as a float serves two classes; there are 3. Pass a weight for each class.",
        ),
        (
            lambda: FocalLoss(alpha=[1, 2, 3, 4])(torch.zeros(2, 3), torch.tensor([0, 1])),
            "alpha must have one weight for each of 3 classes; it has 4.",
        ),
        (lambda: VSLoss("few"), "class_counts must hold a count of at least 0 for each class; it is 'few'."),
        (
            lambda: AsymmetricLoss([1, 2, 3])(torch.zeros(2), torch.tensor([0, 1])),
            "class_counts must have one count for each of 2 classes; it has 3.",
        ),
    ],
)
def test_a_parameter_for_other_classes_or_of_another_kind_raises(make_loss, message):
    test_error_says_what_must_hold_what_came_and_the_choices(make_loss, message)
