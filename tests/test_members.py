"""What each member of the default net trains on and holds out, and the out-of-fold probabilities of all rows."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.stats import chisquare
from sklearn.metrics import log_loss
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from tolerances import assert_close_to_rounding

from imbalanced_torch import (
    DeferredSchedule,
    ImbalancedNet,
    ImbalancedNetClassifier,
    OverSampling,
    RowLoss,
    TemperedSampling,
    UnderSampling,
)
from imbalanced_torch._ensemble.ensemble import MLPEnsemble
from imbalanced_torch._ensemble.folds import deal
from imbalanced_torch._ensemble.members import HeldOut, Members
from imbalanced_torch._remedies.sampling import STRATEGIES


def net(**kwargs):
    return ImbalancedNetClassifier(**{"max_epochs": 3, "random_state": 0, **kwargs})


@pytest.fixture
def drawn(monkeypatch):
    """Keep what each member draws: a list of positions of shape (members, n), and the members themselves."""
    batches, members = [], []
    batch = Members.batch

    def kept(self, positions):
        batches.append(positions.clone())
        members[:] = [self]
        return batch(self, positions)

    monkeypatch.setattr(Members, "batch", kept)
    return lambda: (torch.cat(batches, dim=1).numpy(), members[0].folds)


# Folds


@pytest.mark.parametrize("counts", [[90, 10], [85, 15], [3, 40, 7, 1]])
def test_folds_and_the_classes_in_them_are_of_equal_size(counts):
    codes = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = deal(codes, 8, seed=0)
    assert np.ptp(np.bincount(folds, minlength=8)) <= 1
    for code in range(len(counts)):
        assert np.ptp(np.bincount(folds[codes == code], minlength=8)) <= 1


def test_equal_rows_of_few_go_to_one_fold_wherever_they_stand():
    rng = np.random.default_rng(0)
    X = np.tile(rng.normal(size=(10, 2)), (3, 1))
    codes = np.tile(np.arange(10) % 2, 3)
    folds = deal(codes, 4, seed=0, X=X)
    assert (folds[:10] == folds[10:20]).all()
    order = rng.permutation(30)
    np.testing.assert_array_equal(deal(codes[order], 4, seed=0, X=X[order]), folds[order])


def test_folds_depend_on_the_seed_alone():
    codes = np.arange(100) % 3
    assert (deal(codes, 8, seed=1) == deal(codes, 8, seed=1)).all()
    assert (deal(codes, 8, seed=1) != deal(codes, 8, seed=2)).any()


# Draws

STRATEGIES_AND_NONE = [None, *STRATEGIES, {1: 60}, OverSampling(0.5), UnderSampling(0.5), TemperedSampling()]


@pytest.mark.parametrize("sampling", STRATEGIES_AND_NONE)
def test_no_member_sees_the_fold_that_it_holds_out(data, drawn, sampling):
    net(sampling=sampling).fit(*data)
    rows, folds = drawn()
    assert len(rows) == 8
    for member, own in enumerate(rows):
        assert (folds[own] != member).all()
    assert set(folds) == set(range(8))


def shares_by_hand(sampling, counts):
    """Return the class shares that a strategy draws from rows of two classes, the second one the rarer."""
    common, rare = counts
    if sampling is None:
        wanted = counts
    elif isinstance(sampling, dict):
        wanted = [common, 60]
    elif isinstance(sampling, OverSampling | UnderSampling):  # both at half
        wanted = [2, 1]
    elif isinstance(sampling, TemperedSampling):
        wanted = np.sqrt([common, rare])
    else:
        wanted = [1, 1]
    return np.asarray(wanted) / np.sum(wanted)


@pytest.mark.parametrize("sampling", STRATEGIES_AND_NONE)
def test_each_member_draws_by_the_strategys_law_from_its_own_rows(data, drawn, sampling):
    X, y = data
    net(sampling=sampling, epoch_size=2000, early_stopping=True, n_iter_no_change=99).fit(X, y)
    rows, folds = drawn()
    for member, own in enumerate(rows):
        expected = len(own) * shares_by_hand(sampling, np.bincount(y[folds != member]))
        assert chisquare(np.bincount(y[own]), expected).pvalue > 1e-4
        for label in (0, 1):  # and within a class all rows alike
            mine = np.flatnonzero((y == label) & (folds != member))
            seen = np.bincount(own[y[own] == label], minlength=300)[mine]
            assert chisquare(seen).pvalue > 1e-4


@pytest.mark.parametrize("sampling", ["weighted", "under"])
def test_members_draw_by_themselves(data, drawn, sampling):
    net(sampling=sampling).fit(*data)
    rows, _ = drawn()
    assert all((rows[0] != other).any() for other in rows[1:])


def test_under_gives_each_member_undersamples_of_its_own_and_in_time_all_of_its_rows(data, drawn):
    """EasyEnsemble inside one net."""
    X, y = data
    net(sampling="under", epoch_size=70, batch_size=-1, max_epochs=30, early_stopping=True, n_iter_no_change=99).fit(
        X, y
    )
    rows, folds = drawn()
    first = []
    for member, own in enumerate(rows):
        n_rare = (y[folds != member] == 1).sum()
        sample = own[: 2 * n_rare]
        assert (y[sample] == 1).sum() == n_rare  # every rare row, and as many others
        assert len(set(sample)) == len(sample)
        assert set(own) == set(np.flatnonzero(folds != member))
        first.append(frozenset(sample[y[sample] == 0]))
    assert len(set(first)) == 8


def test_class_weights_are_those_of_all_rows(data):
    X, y = data
    fitted = net(class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(fitted.class_weight_, 300 / (2 * np.bincount(y)))
    np.testing.assert_allclose(fitted.effective_prior_, 0.5)
    np.testing.assert_allclose(fitted.class_prior_, np.bincount(y) / 300)


def test_sample_weights_reach_each_members_loss(data, monkeypatch):
    X, y = data
    weights, seen = np.where(y == 1, 4.0, 1.0), []
    batch = Members.batch

    def kept(self, positions):
        X, target = batch(self, positions)
        seen.append((positions, target))
        return X, target

    monkeypatch.setattr(Members, "batch", kept)
    fitted = net().fit(X, y, sample_weight=weights)
    for positions, (codes, row_weights) in seen:
        np.testing.assert_array_equal(codes, y[positions])
        np.testing.assert_allclose(row_weights, weights[positions])
    np.testing.assert_allclose(fitted.class_prior_, np.bincount(y, weights) / weights.sum())


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("early_stopping", ["auto", False])
def test_a_row_of_weight_2_is_two_rows_of_few(class_weight, early_stopping):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.arange(30) % 3 == 0
    weights = rng.integers(1, 3, 30)
    settings = {"class_weight": class_weight, "early_stopping": early_stopping, "max_epochs": 10}
    weighted = net(**settings).fit(X, y, sample_weight=weights)
    repeated = net(**settings).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert_close_to_rounding(weighted.predict_proba(X), repeated.predict_proba(X))


@pytest.mark.parametrize("weighted", [False, True])
def test_few_rows_are_one_batch_in_which_a_members_fold_weighs_nothing(weighted):
    class Sees(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            if training:
                self.batch, self.folds = batch, net.members_.folds

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 3 == 0
    own = np.linspace(1, 2, 40) if weighted else np.ones(40)
    fitted = net(callbacks=[Sees()]).fit(X, y, sample_weight=own if weighted else None)
    seen = dict(fitted.net_.callbacks_)["Sees"]
    rows, (codes, weights) = seen.batch
    assert rows.shape[:2] == (8, 40)
    np.testing.assert_array_equal(codes, np.tile(y, (8, 1)))
    expected = own * (seen.folds != np.arange(8)[:, None])
    np.testing.assert_allclose(weights, expected / expected.mean(axis=1, keepdims=True) * own.mean(), rtol=1e-6)


def test_a_row_of_weight_0_is_no_row(data):
    X, y = data
    weights = (np.arange(300) % 5 > 0).astype(float)
    weighted = net().fit(X, y, sample_weight=weights)
    without = net().fit(X[weights > 0], y[weights > 0], sample_weight=weights[weights > 0])
    np.testing.assert_array_equal(weighted.predict_proba(X), without.predict_proba(X))


# Out-of-fold probabilities


def noise(n=1000, share=0.2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 5)), (rng.random(n) < share).astype(int)


def test_out_of_fold_probabilities_are_those_of_the_member_that_holds_a_row_out(data, drawn):
    X, y = data
    fitted = net().fit(X, y)
    _, folds = drawn()
    assert fitted.oof_proba_.shape == (300, 2)
    np.testing.assert_allclose(fitted.oof_proba_.sum(axis=1), 1, rtol=1e-5)
    module = fitted.module_.eval()
    with torch.no_grad():
        encoded = module.encode(torch.from_numpy(X))
        proba = torch.sigmoid(module(encoded.expand(8, -1, -1)))[..., 0].view(2, 8, 300)
    expected = (module.blend[:, None, None] * proba).sum(0).numpy()[folds, np.arange(300)]
    np.testing.assert_allclose(fitted.oof_proba_[:, 1], expected, atol=1e-5)


@pytest.mark.parametrize(
    "remedy",
    [{}, {"class_weight": "balanced"}, *({"sampling": word} for word in STRATEGIES), {"criterion": "logit_adjusted"}],
    ids=str,
)
def test_out_of_fold_probabilities_are_at_the_class_prior_whatever_the_remedy(remedy):
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.1).astype(int)
    X = rng.normal(size=(2000, 3)) + y[:, None]
    fitted = net(max_epochs=20, **remedy).fit(X, y)
    assert fitted.oof_proba_[:, 1].mean() == pytest.approx(y.mean(), abs=0.03)
    np.testing.assert_array_equal(fitted.set_params(prior_correction={0: 0.5, 1: 0.5}).oof_proba_, fitted.oof_proba_)


def test_out_of_fold_probabilities_have_not_seen_their_rows():
    """On pure noise they are worth the prior, while those of rows that trained look better."""
    X, y = noise(n=300)
    prior = log_loss(y, np.full(300, y.mean()))
    fitted = net(max_epochs=40, n_iter_no_change=99).fit(X, y)
    assert log_loss(y, fitted.oof_proba_) == pytest.approx(prior, abs=0.05)
    learned = net(max_epochs=40, schedule=DeferredSchedule(39), class_weight={0: 1, 1: 1}).fit(X, y)  # by heart
    assert log_loss(y, learned.predict_proba(X)) < prior - 0.1
    assert log_loss(y, learned.oof_proba_) > prior + 0.05


def test_out_of_fold_probabilities_stand_in_the_order_of_the_rows(data):
    X, y = data
    fitted = net(max_epochs=20).fit(X, y)
    by_class = [fitted.oof_proba_[y == label, 1].mean() for label in (0, 1)]
    assert by_class[1] > by_class[0] + 0.3


def test_rows_of_weight_0_have_out_of_fold_probabilities_of_all_members(data):
    X, y = data
    weights = (np.arange(300) % 5 > 0).astype(float)
    fitted = net(class_weight="balanced", prior_correction=True).fit(X, y, sample_weight=weights)
    without = net(class_weight="balanced").fit(X[weights > 0], y[weights > 0], sample_weight=weights[weights > 0])
    assert fitted.oof_proba_.shape == (300, 2)
    np.testing.assert_array_equal(fitted.oof_proba_[weights > 0], without.oof_proba_)
    np.testing.assert_allclose(fitted.oof_proba_[weights == 0], fitted.predict_proba(X[weights == 0]), rtol=1e-5)


@pytest.mark.parametrize("setting", [{"early_stopping": False}, {"train_split": ValidSplit(5)}], ids=["False", "split"])
def test_where_no_folds_are_held_out_there_are_no_out_of_fold_probabilities(data, setting):
    fitted = net().fit(*data)
    assert hasattr(fitted, "oof_proba_")
    assert not hasattr(fitted.set_params(**setting).fit(*data), "oof_proba_")


def test_partial_fit_has_no_out_of_fold_probabilities(data):
    fitted = net().partial_fit(*data, classes=[0, 1])
    assert not hasattr(fitted, "oof_proba_")
    assert not hasattr(net().fit(*data).partial_fit(*data), "oof_proba_")


@pytest.mark.parametrize("train_split", [None, ValidSplit(5)], ids=["folds", "train_split"])
def test_the_history_has_the_held_out_loss_and_the_best_is_kept(data, train_split):
    X, y = data
    fitted = net(max_epochs=10, train_split=train_split, n_iter_no_change=99).fit(X, y)
    assert fitted.n_iter_ == 10
    losses = fitted.history_[:, "valid_log_loss_corrected"]
    assert np.isfinite(losses).all()
    assert fitted.best_epoch_ > 1
    if train_split is None:
        assert log_loss(y, fitted.oof_proba_) <= min(losses) + 1e-3


def test_held_out_rows_side_by_side_are_filled_up_by_rows_of_weight_0():
    held_out = HeldOut([np.array([3, 1]), np.array([0]), np.array([], dtype=int)], np.array([1.0, 2.0, 1.0, 1.0]))
    np.testing.assert_array_equal(held_out.positions, [[3, 1], [0, 0], [0, 0]])
    np.testing.assert_allclose(held_out.weights, np.array([[1, 2], [1, 0], [0, 0]]) * 6 / 4)


@pytest.mark.parametrize("kept", [True, False])
def test_a_small_sparse_matrix_is_encoded_once_and_a_large_one_batch_by_batch(data, monkeypatch, kept):
    if not kept:
        monkeypatch.setattr("imbalanced_torch._ensemble.members._KEPT", 0)
    encoded = []
    encode = MLPEnsemble.encode
    monkeypatch.setattr(MLPEnsemble, "encode", lambda self, X: encoded.append(len(X)) or encode(self, X))
    net(max_epochs=1).fit(csr_matrix(data[0]), data[1])
    assert (encoded.count(64) == 4) == kept


class NoWayBack(RowLoss):
    """Cross-entropy that says nothing of probabilities."""

    exact = False

    def row_losses(self, logits, codes):
        return torch.nn.functional.cross_entropy(logits, codes, reduction="none")

    def scores(self, logits):
        return logits


class Smoothed(torch.nn.CrossEntropyLoss):
    """Cross-entropy whose probabilities are not exact."""

    def __init__(self, reduction="none"):
        super().__init__(reduction=reduction, label_smoothing=0.1)


@pytest.mark.parametrize("criterion", [NoWayBack, Smoothed])
def test_where_nothing_can_be_corrected_members_stop_on_what_they_minimise(data, criterion):
    losses = []

    class Looking(ImbalancedNet):
        def held_out_step(self, batch, **kwargs):
            step = super().held_out_step(batch, **kwargs)
            losses.append((sum(self.member_scores_[0]) / 2, float(step["loss"])))
            return step

    class Estimator(ImbalancedNetClassifier):
        net_class = Looking

    settings = {"criterion": criterion, "class_weight": "balanced", "max_epochs": 3, "random_state": 0}
    fitted = Estimator(**settings).fit(*data)
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-5)
    assert fitted.module_.blend.tolist() == [0.5, 0.5]
    assert hasattr(fitted, "oof_proba_") == (criterion is Smoothed)
