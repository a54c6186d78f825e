"""MLPEnsemble by itself: an ordinary module, whose members stand side by side and whose probabilities are averaged."""

import copy
import io
import math
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from imbalanced_torch import ImbalancedNetClassifier, MLPEnsemble
from imbalanced_torch._ensemble.ensemble import average


def rows(n=5, d=3, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_rows_for_all_members_become_one_row_of_logits_and_their_own_those_of_each_net(n_outputs, training):
    module = MLPEnsemble(3, n_outputs, n_members=2, seed=0).train(training)
    assert module(rows()).shape == (5, n_outputs)
    own = module.encode(rows(10)).view(2, 5, -1)
    assert module(own).shape == (4, 5, n_outputs)


def test_rows_of_more_dimensions_are_flattened_where_they_are_encoded():
    module = MLPEnsemble(6, seed=0)
    assert torch.equal(module.encode(rows(5, 6).view(5, 2, 3)), module.encode(rows(5, 6)))


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("share", [0.5, 0.2, 0.0, 1.0])
def test_probabilities_are_averaged_and_not_logits(n_outputs, share):
    module = MLPEnsemble(3, n_outputs, n_members=3, seed=0, dtype=torch.float64).eval()
    with torch.no_grad():
        module.output.weight.mul_(100)  # members that disagree
        module.blend.copy_(torch.tensor([share, 1 - share]))
        encoded = module.encode(rows())
        nets = module(encoded.expand(3, -1, -1))
        proba = [torch.softmax(nets, 2) if n_outputs > 1 else torch.sigmoid(nets)][0].view(2, 3, 5, n_outputs).mean(1)
        expected = share * proba[0] + (1 - share) * proba[1]
        logits = module(rows())
    found = torch.softmax(logits, 1) if n_outputs > 1 else torch.sigmoid(logits)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    mean_of_logits = nets.view(2, 3, 5, n_outputs).mean((0, 1))
    assert (logits - mean_of_logits).abs().max() > 0.01


def test_the_average_of_sure_nets_worked_by_hand():
    log_half = torch.full((2, 1, 1), math.log(0.5))
    one = average(torch.tensor([[[1e4]], [[-1e4]]]), log_half)  # (1 + 0) / 2
    assert one.item() == pytest.approx(0)
    sure = average(torch.tensor([[[1e4]], [[1e4]]]), log_half)
    assert sure.item() == 1e4
    three = average(torch.tensor([[[0.0, 0.0]], [[math.log(3), 0.0]]]), log_half).exp()  # (1/2 + 3/4) / 2
    np.testing.assert_allclose(three, [[0.625, 0.375]], rtol=1e-6)


def test_members_differ_and_do_not_mix():
    module = MLPEnsemble(3, n_members=2, seed=0).eval()
    own = module.encode(rows(10)).view(2, 5, -1)
    before = module(own).detach()
    assert len(before[:, 0, 0].unique()) == 4
    changed = own.clone()
    changed[1] += 1
    after = module(changed)
    np.testing.assert_array_equal(after[[0, 2]].detach(), before[[0, 2]])  # member 0: the two nets of it
    assert not torch.equal(after[[1, 3]], before[[1, 3]])


def test_evaluation_takes_the_running_means_of_the_weights_once_there_are_some():
    module, means = MLPEnsemble(3, n_members=2, seed=0), []
    own = module.encode(rows(10)).view(2, 5, -1)
    expected = None
    for step in range(4):
        with torch.no_grad():
            module.output.bias.fill_(float(step))
        module.train()(own)
        memory = 0 if step == 0 else (1 + step) / (10 + step)
        expected = step if expected is None else memory * expected + (1 - memory) * step
        means.append(expected)
        np.testing.assert_allclose(module.output.mean_bias, expected, rtol=1e-6)
    assert int(module.n_steps) == 4
    with torch.no_grad():
        for layer in module.layers()[:-1]:
            layer.mean_weight.zero_()
            layer.mean_bias.zero_()
    np.testing.assert_allclose(module.eval()(rows()).detach(), means[-1], rtol=1e-6)
    assert module.train()(rows()).std() > 0


def test_a_state_dict_says_whether_there_are_running_means():
    trained, loaded = MLPEnsemble(3, n_members=2, seed=0), MLPEnsemble(3, n_members=2, seed=1)
    for _ in range(3):
        trained(trained.encode(rows(10)).view(2, 5, -1))
        with torch.no_grad():
            trained.output.bias += 1
    loaded.load_state_dict(trained.state_dict())
    assert torch.equal(loaded.eval()(rows()), trained.eval()(rows()))
    loaded.load_state_dict(MLPEnsemble(3, n_members=2).state_dict())
    assert not loaded.has_means


def test_before_any_step_evaluation_takes_the_weights_as_they_are():
    module = MLPEnsemble(3, n_members=2, seed=0).eval()
    with torch.no_grad():
        before = module(rows())
        module.output.bias += 1
        assert not torch.equal(module(rows()), before)


def test_a_seed_gives_the_same_weights_and_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    one, two, other = (MLPEnsemble(3, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["output.weight"], other["output.weight"])


def test_the_first_layer_sees_unit_variance_once_it_is_scaled():
    module = MLPEnsemble(30, n_members=8, seed=0)
    encoded = module.encode(rows(500, 30))
    module.scale_to(encoded, None)
    units = torch.stack([layer(encoded.expand(8, -1, -1)) - layer.bias for layer in module.first])
    assert units.std().item() == pytest.approx(1, rel=0.05)


def test_the_first_probabilities_are_about_even():
    proba = torch.sigmoid(MLPEnsemble(3, seed=0).eval()(rows(1000)))
    assert (proba - 0.5).abs().max() < 0.05


def test_biases_and_they_alone_do_not_decay():
    module = MLPEnsemble(3)
    names = {name for name, p in module.named_parameters() if any(p is bias for bias in module.undecayed_parameters())}
    assert names == {name for name, _ in module.named_parameters() if name.endswith("bias")}


@pytest.mark.parametrize(
    "again",
    [
        copy.deepcopy,
        lambda module: pickle.loads(pickle.dumps(module)),
        lambda module: torch.load(saved(module), weights_only=False),
    ],
    ids=["deepcopy", "pickle", "torch.save"],
)
def test_a_copy_is_the_same_module(again):
    module = MLPEnsemble(3, seed=0)
    module(module.encode(rows(40)).view(8, 5, -1))
    copied = again(module.eval()).eval()
    assert torch.equal(copied(rows()), module(rows()))
    copied.output.mean_bias += 1
    assert not torch.equal(copied(rows()), module(rows()))


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return file


def test_its_text_is_that_of_a_module():
    text = repr(MLPEnsemble(3))
    assert text.startswith("MLPEnsemble(")
    assert "(encoder): ColumnEncoder()" in text
    assert "(0-1): 2 x BatchedLinear()" in text


@pytest.mark.parametrize("own_rows", [True, False])
def test_it_trains_in_a_loop_of_torchs_without_the_estimator(own_rows):
    torch.manual_seed(0)
    X = torch.randn(600, 2, dtype=torch.float64)
    y = (X[:, 0] * X[:, 1] > 0).float()  # no line tells these apart
    module = MLPEnsemble(2, n_members=4)
    optimizer, loss = torch.optim.AdamW(module.parameters(), lr=0.02), nn.BCEWithLogitsLoss()
    for _ in range(100):
        chosen = torch.randint(400, (4, 64))
        optimizer.zero_grad()
        if own_rows:
            error = loss(module(module.encode(X)[chosen]), y[chosen].repeat(2, 1)[..., None])
        else:
            error = loss(module(X[chosen[0]])[:, 0], y[chosen[0]])
        error.backward()
        optimizer.step()
    correct = (module.eval()(X[400:])[:, 0] > 0) == (y[400:] > 0)
    assert correct.float().mean() > 0.93
    assert int(module.n_steps) == (100 if own_rows else 0)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_members": 1}, ValueError, "n_members must be at least 2; it is 1."),
        ({"n_members": 2.0}, TypeError, "n_members must be an int; it is 2.0."),
        (
            {"hidden_sizes": ()},
            ValueError,
            "hidden_sizes must have at least one layer; it is empty. MLP may have none.",
        ),
        ({"encoder": 3}, TypeError, "encoder must be None or a ColumnEncoder; it is 3."),
        ({"hidden_sizes": (0,)}, ValueError, "hidden_sizes"),
        ({"dropout": 1.0}, ValueError, "dropout"),
        ({"n_features": 0}, ValueError, "n_features"),
        ({"n_outputs": 0}, ValueError, "n_outputs"),
    ],
)
def test_a_wrong_size_raises(parameters, error, message):
    with pytest.raises(error, match=re.escape(message)):
        MLPEnsemble(**{"n_features": 3, **parameters})


@pytest.mark.parametrize("module", [None, MLPEnsemble])
def test_the_estimators_module_parameters_reach_it(data, module):
    net = ImbalancedNetClassifier(module, max_epochs=1, random_state=0)
    net.set_params(module__n_members=3, module__hidden_sizes=(5, 4), module__dropout=0.0).fit(*data)
    assert net.module_.n_members == 3
    assert [tuple(layer.weight.shape[::2]) for layer in net.module_.layers()] == [(3, 4), (3, 5), (3, 4), (6, 1)]
    assert net.module_.dropout.p == 0
