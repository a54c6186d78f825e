"""Each private name of another package that CONTRIBUTING lists is there, and does what we take it for."""

from pathlib import Path

import numpy as np
import pytest
import skorch.utils
import torch
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params, _check_pos_label_consistency, _num_samples
from skorch import NeuralNet
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._fast import hooks

CONTRIBUTING = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize(
    "name",
    [
        *("_default_callbacks", "_set_training", "_step_optimizer", "_zero_grad_optimizer", "_check_device"),
        "_get_param_names",
    ],
)
def test_skorch_has_the_methods_that_we_override_or_call(name):
    assert hasattr(NeuralNet, name)
    assert name in CONTRIBUTING


def test_skorch_lists_the_parts_of_a_net_and_its_batches(data):
    net = ImbalancedNetClassifier(MLP, max_epochs=1).fit(*data).net_
    assert (net._modules, net._criteria, net._optimizers) == (["module"], ["criterion"], ["optimizer"])
    assert {"train_loss", "train_batch_size"} <= net.history[-1]["batches"][0].keys()
    skorch.utils._check_f_arguments("save_params", f_params="file")
    with pytest.raises(TypeError):
        skorch.utils._check_f_arguments("save_params", params="file")


def test_torch_keeps_hooks_where_we_look():
    linear = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(linear.parameters(), fused=True)
    for owner, names in (
        (linear, hooks._MODULE),
        (linear.weight, hooks._PARAMETER),
        (hooks.every_module, hooks._EVERY_MODULE),
        (optimizer, hooks._OPTIMIZER),
        (hooks.every_optimizer, hooks._EVERY_OPTIMIZER),
    ):
        assert all(hasattr(owner, name) for name in names)
    assert not hooks.call_is_hooked(linear)
    linear.register_forward_hook(print)
    assert hooks.call_is_hooked(linear)


def test_torchs_criteria_have_a_base_and_a_compiled_module_its_original():
    assert issubclass(torch.nn.CrossEntropyLoss, torch.nn.modules.loss._Loss)
    linear = torch.nn.Linear(1, 1)
    assert torch.compile(linear, backend="eager")._orig_mod is linear


def test_torch_has_adams_functional_form_and_the_names_of_its_state():
    assert callable(adam)
    assert callable(adamw)
    linear = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(linear.parameters(), fused=True, amsgrad=True)
    linear(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"} == optimizer.state[linear.weight].keys()


@pytest.mark.parametrize("function", [torch.sigmoid, torch.nn.functional.logsigmoid])
def test_autograd_names_its_nodes(function):
    node = function(torch.zeros(2, requires_grad=True)).grad_fn
    assert node.name().lower().startswith(function.__name__.replace("_", "").lower().removeprefix("log_"))


def test_scikit_learn_has_what_tuned_offsets_use():
    X = np.arange(6).reshape(3, 2)
    assert _safe_indexing(X, [2]).tolist() == [[4, 5]]
    assert _num_samples(X) == 3
    assert _check_method_params(X, {"sample_weight": np.arange(3)}, indices=[1])["sample_weight"].tolist() == [1]


def test_scikit_learns_scorers_have_their_parts():
    scorer = get_scorer("f1")
    assert callable(scorer._score_func)
    assert scorer._kwargs is not None
    assert scorer._response_method == "predict"


def test_scikit_learn_knows_which_of_two_labels_is_positive():
    assert _check_pos_label_consistency(None, np.array([-1, 1])) == 1
    assert _check_pos_label_consistency("a", np.array(["a", "b"])) == "a"
    with pytest.raises(ValueError, match="pos_label is not specified"):
        _check_pos_label_consistency(None, np.array(["a", "b"]))


def test_scikit_learns_html_has_the_parts_that_the_stages_are_put_into():
    estimator = LogisticRegression()
    assert "LogisticRegression" in estimator._repr_html_inner()
    assert estimator._repr_mimebundle_().keys() == {"text/plain", "text/html"}
    assert estimator._doc_link_module == "sklearn"
    assert estimator._get_doc_link() == estimator._doc_link_template.format(
        estimator_module="sklearn.linear_model", estimator_name="LogisticRegression"
    )
    if hasattr(BaseEstimator, "_get_params_html"):  # from 1.7 on
        params = estimator._get_params_html()
        assert params._repr_html_inner() == params._html_repr()
        params._html_repr = lambda: "of one's own"
        assert params._repr_html_inner() == "of one's own"


def test_scikit_learn_has_the_context_that_tears_callbacks_down():
    support = pytest.importorskip("sklearn.callback._callback_support", reason="from scikit-learn 1.9 on")
    assert callable(support.callback_management_context)
    assert hasattr(support.CallbackSupportMixin, "_init_callback_context")


def test_torch_says_what_a_process_group_is_made_of(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        c10d = torch.distributed.distributed_c10d
        assert str(c10d.get_backend_config()).startswith("cpu:gloo")
        assert c10d._get_default_store().check(["no key"]) is False
        backend = torch.distributed.group.WORLD._get_backend(torch.device("cpu"))
        assert backend.options._timeout.total_seconds() > 0
    finally:
        torch.distributed.destroy_process_group()
    for name in ("_get_default_store", "_get_backend", "_timeout"):
        assert name in CONTRIBUTING
