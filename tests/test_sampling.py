from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from sklearn.base import clone
from torch.utils.data import WeightedRandomSampler

import imbalanced_torch._remedies.row_streams
from imbalanced_torch import BalancedBatches, OverSampling, TemperedSampling, UnderSampling
from imbalanced_torch._remedies.row_streams import (
    Batches,
    Cycle,
    Natural,
    Passes,
    RowsByClass,
    class_counts,
    epoch_length,
)
from imbalanced_torch._remedies.sampling import STRATEGIES, SamplingStrategy, resolve_sampling

CODES = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [60, 25, 5]))
COUNTS = np.array([60, 25, 5])
CLASSES = np.array(["a", "b", "c"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stream_of(sampling, codes=CODES, batch_size=16, seed=0):
    rows = RowsByClass(codes, 3, generator(seed))
    strategy = resolve_sampling(sampling, CLASSES)
    return Natural(rows) if strategy is None else strategy.stream(rows, batch_size)


def epoch(sampling, n=None, **kwargs):
    stream = stream_of(sampling, **kwargs)
    return stream.take(n or stream.length).numpy()


def counts_of(rows):
    return np.bincount(CODES[rows], minlength=3)


@dataclass
class RarestOnly(SamplingStrategy):
    """A strategy from outside the package: one method."""

    def stream(self, rows, batch_size):
        quotas = np.where(rows.counts == rows.counts.min(), rows.counts, 0)
        return Passes(quotas, rows)


ALL = [
    *STRATEGIES,
    OverSampling(0.5),
    UnderSampling(0.5),
    TemperedSampling(0.5),
    TemperedSampling(0.0, replacement=False),
    {"a": 7},
    lambda n: n + 1,
    RarestOnly(),
    None,
]


@pytest.mark.parametrize("sampling", ALL)
def test_every_strategy_draws_rows_that_exist_and_keeps_its_length(sampling):
    stream = stream_of(sampling)
    rows = stream.take(stream.length)
    assert rows.dtype in (torch.int32, torch.int64)
    assert len(rows) == stream.length
    assert rows.min() >= 0
    assert rows.max() < len(CODES)


@pytest.mark.parametrize("sampling", ALL)
def test_every_strategy_has_the_class_shares_it_declares(sampling):
    stream = stream_of(sampling)
    n = 20 * stream.length
    drawn = counts_of(stream.take(n).numpy()) / n
    tolerance = 5 * np.sqrt(stream.shares * (1 - stream.shares) / n)
    assert (np.abs(drawn - stream.shares) <= tolerance + 1e-12).all()


@pytest.mark.parametrize("sampling", ALL)
def test_every_strategy_repeats_itself_for_a_seed_and_differs_between_epochs(sampling):
    first, again = stream_of(sampling), stream_of(sampling)
    epochs = [first.take(first.length) for _ in range(2)]
    assert torch.equal(epochs[0], again.take(again.length))
    assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.parametrize("sampling", ALL)
def test_every_strategy_leaves_the_global_random_state_alone(sampling):
    before = torch.get_rng_state()
    epoch(sampling)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("word", STRATEGIES)
def test_every_word_resolves_to_an_object_that_scikit_learn_can_clone(word):
    strategy = resolve_sampling(word, CLASSES)
    assert clone(strategy) == strategy


def test_none_shows_every_row_once():
    assert sorted(epoch(None)) == list(range(90))


def test_weighted_draws_as_many_rows_as_there_are():
    assert len(epoch("weighted")) == 90


def test_weighted_has_the_law_of_weighted_random_sampler():
    n = 90_000
    ours = np.bincount(epoch("weighted", n), minlength=90)
    weights = 1 / COUNTS[CODES]
    theirs = np.bincount(list(WeightedRandomSampler(weights, n, generator=generator(1))), minlength=90)
    expected = n * weights / weights.sum()
    assert chisquare(ours, expected).pvalue > 1e-3
    assert chisquare(theirs, expected).pvalue > 1e-3


def test_weighted_draws_are_independent():
    rows = CODES[epoch("weighted", 90_000)]
    pairs = np.bincount(3 * rows[::2] + rows[1::2], minlength=9)
    assert chisquare(pairs).pvalue > 1e-3


def test_draws_without_replacement_have_the_same_law_of_classes():
    rows = CODES[epoch(TemperedSampling(0.0, replacement=False), 90_000)]
    assert chisquare(np.bincount(rows, minlength=3)).pvalue > 1e-3
    assert chisquare(np.bincount(3 * rows[::2] + rows[1::2], minlength=9)).pvalue > 1e-3


@pytest.mark.parametrize("takes", [[7] * 300, [1000, 1, 40_000]], ids=["small", "large"])
def test_draws_without_replacement_show_each_row_of_a_class_once_a_round(takes):
    stream = stream_of(TemperedSampling(0.5, replacement=False))
    rows = np.concatenate([stream.take(n).numpy() for n in takes])
    orders = []
    for code, n in enumerate(COUNTS):
        own = rows[CODES[rows] == code]
        rounds = own[: len(own) // n * n].reshape(-1, n)
        assert len(rounds) > 3
        assert (np.sort(rounds, axis=1) == np.flatnonzero(code == CODES)).all()
        assert np.ptp(np.bincount(own, minlength=90)[code == CODES]) <= 1
        orders.append(len(np.unique(rounds, axis=0)) / min(len(rounds), 120))
    assert min(orders) > 0.5  # shuffled anew each round; 5 rows have 120 orders


def test_draws_without_replacement_make_every_row_equally_likely_at_every_turn():
    turns = np.zeros((5, 5))
    for seed in range(500):
        rows = epoch(TemperedSampling(0.0, replacement=False), 90, seed=seed)
        rarest = np.searchsorted(np.flatnonzero(CODES == 2), rows[CODES[rows] == 2])
        for turn, row in enumerate(rarest[5:10]):  # of the second round
            turns[turn, row] += 1
    assert chisquare(turns, axis=1).pvalue.min() > 1e-3


@pytest.mark.parametrize("few", [2, 3])
def test_rows_are_sorted_by_class_in_parts(monkeypatch, few):
    monkeypatch.setattr(imbalanced_torch._remedies.row_streams, "_FEW_CLASSES", few)
    monkeypatch.setattr(imbalanced_torch._remedies.row_streams, "_AT_ONCE", 7)
    rows = RowsByClass(CODES, 3, generator())
    np.testing.assert_array_equal(rows.order, np.argsort(CODES, kind="stable"))
    assert rows.order.dtype == torch.int32
    assert rows.counts.tolist() == [60, 25, 5]
    weights = np.linspace(1, 2, 90)
    np.testing.assert_allclose(class_counts(CODES, 3, weights), np.bincount(CODES, weights))


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("over", [60, 60, 60]),
        (OverSampling(0.5), [60, 30, 30]),
        (OverSampling(0.1), [60, 25, 6]),
        ("under", [5, 5, 5]),
        (UnderSampling(0.5), [10, 10, 5]),
        (UnderSampling(0.01), [60, 25, 5]),
        ("batch", [30, 30, 30]),  # 16 // 3 = 5 of each class, ceil(90 / 15) = 6 batches
        ({"a": 30, "c": 12}, [30, 25, 12]),
        (lambda counts: counts // 5, [12, 5, 1]),
    ],
)
def test_an_epoch_has_the_counts_worked_by_hand(sampling, expected):
    assert counts_of(epoch(sampling)).tolist() == expected


@pytest.mark.parametrize("sampling", ["over", OverSampling(0.5), {"c": 12}])
def test_more_rows_than_there_are_show_every_row_at_least_once(sampling):
    assert set(epoch(sampling)) == set(range(90))


@pytest.mark.parametrize("sampling", ["under", UnderSampling(0.4), {"a": 11, "b": 3}])
def test_fewer_rows_than_there_are_come_without_replacement(sampling):
    stream = stream_of(sampling)
    for _ in range(20):
        rows = stream.take(stream.length).numpy()
        assert len(set(rows)) == len(rows)


def test_under_sees_all_rows_over_the_epochs():
    stream = stream_of("under")
    seen = {row for _ in range(12) for row in stream.take(stream.length).tolist()}  # 60 rows, 5 at a time
    assert seen == set(range(90))


@pytest.mark.parametrize(("sampling", "quota"), [("over", 60), ("under", 5)])
def test_passes_taken_in_parts_are_whole(sampling, quota):
    stream = stream_of(sampling)
    parts = [stream.take(n) for n in [7, 1, 0, 3 * quota - 8, quota, 2 * quota, 6 * quota]]  # the last is two passes
    for rows in torch.cat(parts).numpy().reshape(4, 3 * quota):
        np.testing.assert_array_equal(counts_of(rows), quota)
        if sampling == "over":
            assert set(rows.tolist()) == set(range(90))


def test_a_strategy_shows_what_was_changed_as_scikit_learns_estimators_do():
    assert repr(TemperedSampling()) == "TemperedSampling()"
    assert repr(TemperedSampling(0.3, False)) == "TemperedSampling(power=0.3, replacement=False)"


def test_tempered_sampling_of_power_0_and_1_is_equal_and_natural_shares():
    np.testing.assert_allclose(TemperedSampling(0.0).shares(COUNTS), 1 / 3)
    np.testing.assert_allclose(TemperedSampling(1.0).shares(COUNTS), COUNTS / 90)


@pytest.mark.parametrize("batch_size", [3, 7, 16, 64, 2])
def test_balanced_batches_hold_exactly_m_rows_of_each_class(batch_size):
    stream = stream_of(BalancedBatches(), batch_size=batch_size)
    m = max(1, batch_size // 3)
    batches = list(Batches(stream.take, stream.length, stream.batch_size))
    assert len(batches) == -(-90 // (3 * m))
    assert all(counts_of(batch.numpy()).tolist() == [m, m, m] for batch in batches)


def test_balanced_batches_cycle_each_class_before_repeating_a_row():
    rows = epoch("batch", batch_size=6)
    for code, n in enumerate(COUNTS):
        first = rows[CODES[rows] == code][:n]
        assert len(set(first)) == len(first)


@pytest.mark.parametrize("n", [1, 4, 7, 10])
def test_a_cycle_shows_no_row_twice_in_one_take_and_every_row_each_round(n):
    cycle = Cycle(torch.arange(10), generator())
    takes = [cycle.take(n).tolist() for _ in range(30)]
    assert all(len(set(take)) == n for take in takes)
    counts = np.bincount(np.concatenate(takes))
    assert counts.max() - counts.min() <= 1


def test_a_cycle_makes_every_row_equally_likely_over_a_round_border():
    seen = np.zeros(5)
    for seed in range(2000):
        cycle = Cycle(torch.arange(5), generator(seed))
        cycle.take(3)
        seen[cycle.take(3)] += 1
    assert chisquare(seen).pvalue > 1e-3


@pytest.mark.parametrize("n", [1, 3, 4, 7, 10])
def test_takes_at_once_show_no_row_twice_in_one_and_every_row_each_round(n):
    cycle = Cycle(torch.arange(10), generator())
    takes = torch.cat([cycle.take_by(n, times) for times in (1, 5, 24)]).tolist()
    assert [len(set(take)) for take in takes] == [n] * 30
    counts = np.bincount(np.concatenate(takes))
    assert counts.max() - counts.min() <= 1


def test_rounds_at_once_make_every_row_equally_likely_at_every_turn():
    rounds = Cycle(torch.arange(5), generator()).take(5000).view(-1, 5)
    assert (rounds.sort(dim=1).values == torch.arange(5)).all()
    assert min(chisquare(np.bincount(turn)).pvalue for turn in rounds.T.tolist()) > 1e-3


@pytest.mark.parametrize("sampling", ["under", "over"])
def test_passes_at_once_have_the_counts_of_each_and_any_order(sampling):
    codes = np.repeat([0, 1], [6, 3])
    stream = stream_of(sampling, codes)
    passes = codes[stream.take(2000 * stream.length)].reshape(2000, -1)
    assert (passes.mean(axis=1) == 0.5).all()
    assert chisquare(passes.sum(axis=0)).pvalue > 1e-3


@pytest.mark.parametrize("sampling", ["under", "over", "batch"])
def test_a_long_epoch_of_few_rows_shuffles_many_rounds_at_once(sampling, monkeypatch):
    """An ensemble takes thousands of rows at once, also where a pass has two."""
    calls = []
    monkeypatch.setattr(
        torch, "randperm", lambda *args, f=torch.randperm, **kwargs: calls.append(1) or f(*args, **kwargs)
    )
    stream_of(sampling, np.repeat([0, 1], [100, 1])).take(2000)
    assert len(calls) < 100


@pytest.mark.parametrize("word", STRATEGIES)
def test_a_class_without_rows_in_a_chunk_gives_none(word):
    codes = np.repeat([0, 2], [9, 3])
    rows = stream_of(word, codes=codes).take(40).numpy()
    assert set(codes[rows]) == {0, 2}


@pytest.mark.parametrize(("size", "length"), [(None, 15), (40, 40), (1.0, 90), (2.5, 225), (0.001, 1)])
def test_epoch_size_is_rows_or_a_share_of_the_training_rows(size, length):
    assert epoch_length(size, stream_of("under"), 90) == length


def test_epoch_size_of_balanced_batches_is_whole_batches():
    assert epoch_length(31, stream_of("batch"), 90) == 45


def test_a_longer_epoch_of_under_is_consecutive_fresh_undersamples():
    rows = epoch("under", 90)
    assert counts_of(rows).tolist() == [30, 30, 30]
    for part in np.split(rows, 6):
        assert counts_of(part).tolist() == [5, 5, 5]
        assert len(set(part)) == 15


def test_a_shorter_epoch_without_sampling_is_a_fresh_random_subset():
    stream = stream_of(None)
    epochs = [set(stream.take(40).tolist()) for _ in range(5)]
    assert all(len(rows) == 40 for rows in epochs)
    assert len(set(map(frozenset, epochs))) == 5


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1]), (3, 5, [3])],
)
def test_a_last_batch_of_one_row_joins_the_one_before(n, batch_size, sizes):
    batches = Batches(torch.arange, n, batch_size)
    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)


@pytest.mark.parametrize(
    ("length", "drop_last"),
    [(1, False), *((length, drop) for length in [6, 7, 18, 19, 24, 25, 26] for drop in [False, True])],
)
def test_batches_that_are_taken_a_few_at_once_are_the_same(monkeypatch, length, drop_last):
    monkeypatch.setattr(imbalanced_torch._remedies.row_streams, "_TAKEN_AT_ONCE", 19)  # three batches of 6
    taken = []

    def take(n):
        taken.append(n)
        return torch.arange(sum(taken[:-1]), sum(taken))

    batches = Batches(take, length, 6, drop_last)
    found = list(batches)
    assert len(found) == len(batches)
    assert torch.cat(found).tolist() == list(range(length - length % 6 if drop_last else length))
    assert {len(batch) for batch in found[:-1]} <= {6}
    assert len(found[-1]) in ([6] if drop_last else [1, length] if length == 1 else range(2, 8))
    assert max(taken) <= 19


@pytest.mark.parametrize("length", [1, 5])
def test_drop_last_raises_where_it_would_leave_no_batch(length):
    with pytest.raises(ValueError, match=r"^drop_last leaves no batch: ") as raised:
        Batches(torch.arange, length, 6, drop_last=True)
    assert str(raised.value) == f"drop_last leaves no batch: an epoch has {length} rows and a batch 6."


def test_drop_last_drops_an_incomplete_batch():
    assert [len(batch) for batch in Batches(torch.arange, 10, 4, drop_last=True)] == [4, 4]


@pytest.mark.parametrize(
    ("sampling", "error", "message"),
    [
        (
            "upsampling",
            ValueError,
            "sampling must be one of the words ['batch', 'over', 'under', 'weighted']; it is 'upsampling'. Did you "
            "mean 'over'?",
        ),
        (
            "undersample",
            ValueError,
            "sampling must be one of the words ['batch', 'over', 'under', 'weighted']; it is 'undersample'. Did you "
            "mean 'under'?",
        ),
        (
            "auto",
            ValueError,
            "sampling must be one of the words ['batch', 'over', 'under', 'weighted']; it is 'auto'. Did you mean "
            "'weighted'?",
        ),
        (
            "wieghted",
            ValueError,
            "sampling must be one of the words ['batch', 'over', 'under', 'weighted']; it is 'wieghted'. Did you "
            "mean 'weighted'?",
        ),
        (OverSampling(0), ValueError, "ratio must be in (0, 1]; it is 0. 1.0 makes the classes equal."),
        (UnderSampling(1.5), ValueError, "ratio must be in (0, 1]; it is 1.5. 1.0 makes the classes equal."),
        (OverSampling("half"), ValueError, "ratio must be in (0, 1]; it is 'half'. 1.0 makes the classes equal."),
        (TemperedSampling(replacement=1), TypeError, "replacement must be True or False; it is 1."),
        (TemperedSampling(np.nan), ValueError, "power must be a finite number; it is nan."),
        ({"z": 3}, ValueError, "sampling has keys that are not classes of y: ['z']. The classes are ['a', 'b', 'c']."),
        (
            {"a": 0},
            ValueError,
            "sampling must give whole counts of at least 1; it gives {'a': 0, 'b': 25, 'c': 5}. Shares are set by "
            "OverSampling(ratio=...), UnderSampling(ratio=...) or TemperedSampling(power=...).",
        ),
        (
            {"a": -4, "b": 1, "c": 1},
            ValueError,
            "sampling must give whole counts of at least 1; it gives {'a': -4, 'b': 1, 'c': 1}. Shares are set by "
            "OverSampling(ratio=...), UnderSampling(ratio=...) or TemperedSampling(power=...).",
        ),
        (
            {"a": 0.5},
            ValueError,
            "sampling must give whole counts of at least 1; it gives {'a': 0.5, 'b': 25.0, 'c': 5.0}. Shares are set "
            "by OverSampling(ratio=...), UnderSampling(ratio=...) or TemperedSampling(power=...).",
        ),
        (
            lambda counts: counts[:2],
            ValueError,
            "sampling must give one count for each of the 3 classes ['a', 'b', 'c']; its shape is (2,).",
        ),
        (
            WeightedRandomSampler(np.ones(9), 9),
            TypeError,
            "sampling must be a strategy, not a sampler: a WeightedRandomSampler belongs to the rows of one fold, "
            "and a "
            'strategy makes one for each fit. For WeightedRandomSampler with weights 1 / n_c pass sampling="weighted"; '
            "else None, one of the words ['batch', 'over', 'under', 'weighted'], OverSampling(...), "
            "UnderSampling(...), "
            "TemperedSampling(...), BalancedBatches(), a dict from label to count or a callable from counts to counts.",
        ),
        (
            0.5,
            TypeError,
            "sampling must be None, one of the words ['batch', 'over', 'under', 'weighted'], OverSampling(...), "
            "UnderSampling(...), TemperedSampling(...), BalancedBatches(), a dict from label to count or a callable "
            "from "
            "counts to counts; it is 0.5.",
        ),
    ],
)
def test_error_says_what_must_hold_what_came_and_the_choices(sampling, error, message):
    with pytest.raises(error) as raised:
        stream_of(sampling)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("size", "error"),
    [(0, ValueError), (-3, ValueError), (0.0, ValueError), (np.nan, ValueError), ("all", TypeError), (True, TypeError)],
)
def test_epoch_size_must_be_a_positive_number(size, error):
    with pytest.raises(error, match="an int \\(rows\\) or a float \\(share of the training rows\\); it is"):
        epoch_length(size, stream_of(None), 90)


def test_unknown_parameter_of_a_strategy_names_those_it_has():
    with pytest.raises(ValueError, match=r"Invalid parameter 'power' for estimator OverSampling.*'ratio'"):
        OverSampling().set_params(power=1)


def test_the_callers_dict_is_unchanged():
    given = {"a": 30}
    epoch(given)
    assert given == {"a": 30}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    {
        "over": "oversample oversampling upsample upsampling minority",
        "under": "undersample undersampling downsample downsampling majority",
        "weighted": "auto balanced random WeightedRandomSampler weighted_random",
        "batch": "batches balanced_batches",
    }.items(),
)
def test_a_word_of_another_package_suggests_ours(ours, theirs):
    for word in theirs.split():
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            stream_of(word)
        assert str(raised.value) == (
            f"sampling must be one of the words ['batch', 'over', 'under', 'weighted']; it is {word!r}. Did you mean "
            f"{ours!r}?"
        )
