import copy
import io
import json
import logging
import pickle
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_classification
from torch import nn

from imbalanced_torch import MLP, ImbalancedNetClassifier, MLPEnsemble
from imbalanced_torch._export.onnx_graph import _quiet
from imbalanced_torch._export.onnx_operators import InOperatorsOfONNX
from imbalanced_torch._losses.weighted import LOSSES

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

batch_norm = pytest.mark.skipif(torch.__version__.startswith("2.6"), reason="torch 2.6 does not export batch norm")
quick = partial(ImbalancedNetClassifier, max_epochs=3, random_state=0)
plain = partial(ImbalancedNetClassifier, max_epochs=3, early_stopping=False, lr=0.01, random_state=0)
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(string)": object}


def rows(n_classes=2, n=240, kind=np.float32):
    """Numbers, one of them with missing values, a binary column and a constant one; a code for each row."""
    X, y = make_classification(
        *(n, 7),
        n_informative=5,
        n_classes=n_classes,
        n_clusters_per_class=1,
        weights=[0.7, *[0.3 / (n_classes - 1)] * (n_classes - 2)],
        random_state=0,
    )
    X[:, 1] = X[:, 1] > 0.5
    X[:, 2] = 3
    X[::5, 3] = np.nan
    X[:, 4] *= 1e4
    return X.astype(kind), y


def numbers(n_classes=2, n=240, kind=np.float32):
    X, y = rows(n_classes, n, kind)
    return np.nan_to_num(X) / np.array([1, 1, 1, 1, 1e4, 1, 1], kind), y


def table(n=300, seed=0):
    """A column of every kind, with values missing in each, and two labels."""
    rng = np.random.RandomState(seed)
    X = pd.DataFrame(
        {
            "amount": np.exp(rng.randn(n)).astype(np.float32),
            "items": rng.randint(0, 4, n).astype(np.int8),
            "label": pd.array(rng.rand(n) > 0.4, dtype="boolean"),
            "country": rng.choice(["at", "de", "fr", "zz"], n, p=[0.5, 0.3, 0.19, 0.01]),
            "zip": pd.Categorical(rng.choice([1010, 8010, 2**30 + 1], n)),
            "yes": pd.Categorical(rng.rand(n) > 0.5),
            "rate": pd.Categorical(rng.choice([0.5, 0.1], n)),
            "nothing": None,
        }
    )
    for column in X.columns[[0, 2, 3, 4, 5, 6]]:
        X.loc[rng.rand(n) < 0.1, column] = None
    chance = np.where(X["country"] == "fr", 2.0, 0.0) + X["amount"].fillna(1).to_numpy() + rng.randn(n)
    return X, np.where(chance > np.quantile(chance, 0.8), "fraud", "legit")


def session_of(estimator, *X):
    """Return what runs the graph, which passes the checker and goes through a file in memory."""
    file = io.BytesIO()
    estimator.to_onnx(file, *X)
    onnx.checker.check_model(onnx.load_from_string(file.getvalue()), full_check=True)
    return onnxruntime.InferenceSession(file.getvalue())


def metadata(session):
    return {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}


def feed(session, X):
    """Return what the inputs take of rows of any kind."""
    if isinstance(X, dict):
        return {each.name: X[each.name].astype(TYPES[each.type]) for each in session.get_inputs()}
    if isinstance(X, np.ndarray):
        (only,) = session.get_inputs()
        return {only.name: X.astype(TYPES[only.type])}
    columns = {column["input"]: X[column["name"]] for column in metadata(session)["columns"]}
    return {each.name: values_of(columns[each.name], TYPES[each.type])[:, None] for each in session.get_inputs()}


def values_of(column, dtype):
    values = [None if pd.isna(value) else value for value in column]
    if dtype is object:
        return np.array(["" if value is None else value for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=dtype)


def take(X, n):
    """Return n rows of any kind, the first ones again where there are fewer."""
    if isinstance(X, dict):
        return {name: take(values, n) for name, values in X.items()}
    places = np.arange(n) % len(X)
    return X.iloc[places] if hasattr(X, "iloc") else X[places.tolist()] if hasattr(X, "columns") else X[places]


def assert_the_graph_is_the_estimator(estimator, X, *example, sizes=(1, 2, 1000)):
    """Compare probabilities to 1e-6, and labels exactly, for several numbers of rows."""
    session = session_of(estimator, *example)
    for n in sizes:
        part = take(X, n)
        label, proba = session.run(["label", "probabilities"], feed(session, part))
        expected = estimator.predict_proba(part)
        assert (proba.dtype, proba.shape) == (np.float32, expected.shape)
        np.testing.assert_allclose(proba, expected, rtol=0, atol=1e-6)
        assert label.shape == (n,)
        np.testing.assert_array_equal(label, estimator.predict(part))
    return session


# The default net


def test_a_table_becomes_one_input_for_each_column_and_labels_come_out_as_words():
    X, y = table()
    model = quick(class_weight="balanced", prior_correction=True, decision={"fraud": 0.3}).fit(X, y)
    X["country"] = X["country"].replace("at", "new")
    X["zip"] = pd.Categorical(X["zip"].astype(float).replace(8010, 4020))
    session = assert_the_graph_is_the_estimator(model, X)
    found = {each.name: (each.type, each.shape) for each in session.get_inputs()}
    assert found == {
        "amount": ("tensor(float)", ["n", 1]),
        "items": ("tensor(float)", ["n", 1]),
        "label_column": ("tensor(float)", ["n", 1]),
        "country": ("tensor(string)", ["n", 1]),
        "zip": ("tensor(double)", ["n", 1]),
        "yes": ("tensor(float)", ["n", 1]),
        "rate": ("tensor(double)", ["n", 1]),
        "nothing": ("tensor(float)", ["n", 1]),
    }
    assert [(each.name, each.type, each.shape) for each in session.get_outputs()] == [
        ("label", "tensor(string)", ["n"]),
        ("probabilities", "tensor(float)", ["n", 2]),
    ]
    said = metadata(session)
    assert said["classes"] == ["fraud", "legit"]
    assert said["decision"] == {"fraud": 0.3}
    assert said["prior_correction"] is True
    assert said["effective_prior"] == [0.5, 0.5]
    assert said["class_prior"] == pytest.approx([0.2, 0.8])
    assert said["imbalanced_torch"]
    assert said["columns"][3]["levels"] == ["at", "de", "fr", "zz"]
    assert [column["missing"] for column in said["columns"]] == ["NaN", "NaN", "NaN", "", *["NaN"] * 4]


DECISIONS = {
    "argmax": {"decision": "argmax", "class_weight": "balanced", "prior_correction": [0.6, 0.4]},
    "balanced": {"decision": "balanced", "sampling": "under"},
    "threshold": {"decision": 0.12, "prior_correction": True, "class_weight": "sqrt"},
    "log-odds of costs": {"decision": [[0, 1], [7, 0]]},
    "costs": {"decision": [[-1, 1], [3, -2]], "class_weight": {1: 2}, "prior_correction": True},
    "one way costs": {"decision": [[0, 1], [0, -1]]},
    "settled goal": {"decision": {"recall": 0.6}, "class_weight": "balanced"},
    "score": {"decision": "f1"},
}
FORMS = {
    "a goal on members": {"decision": {"recall": 0.6}, "class_weight": "balanced"},
    "no bins": {"module__n_bins": 0},
    "two logits": {"module__n_outputs": 2},
    "blended": {"module__blend": 1.0},
    "double precision": {"module__dtype": torch.float64},
}


@pytest.mark.parametrize("parameters", FORMS.values(), ids=FORMS)
def test_every_form_of_the_default_net_on_arrays_of_two_classes_is_in_the_graph(parameters):
    X, y = rows()
    session = assert_the_graph_is_the_estimator(quick(**parameters).fit(X, y), X)
    assert [(each.name, each.type, each.shape) for each in session.get_inputs()] == [("X", "tensor(float)", ["n", 7])]


@pytest.mark.parametrize("parameters", DECISIONS.values(), ids=DECISIONS)
def test_every_decision_of_a_plain_net_is_in_the_graph(parameters):
    X, y = numbers()
    model = quick(MLP, early_stopping=True, validation_fraction=0.5, **parameters)
    assert_the_graph_is_the_estimator(model.fit(X, y), X)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"decision": "argmax", "sampling": "over", "prior_correction": True},
        {"decision": "gmean"},
        {"decision": 1 - np.eye(4) + np.diag([0.0, 3, 1], 1), "class_weight": "sqrt", "prior_correction": True},
    ],
)
def test_every_decision_of_many_classes_is_in_the_graph(parameters):
    X, y = rows(4, n=400)
    assert_the_graph_is_the_estimator(quick(**parameters).fit(X, y), X)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([-1, 1], np.int8), "tensor(int64)"),
        (np.array([2**40, 2**63 - 1], np.uint64), "tensor(int64)"),
        (np.array([False, True]), "tensor(bool)"),
        (np.array([-1.0, 2.0]), "tensor(double)"),
        (np.array([-1.0, 2.0], np.float32), "tensor(float)"),
        (np.array(["ja", "näin"]), "tensor(string)"),
        (np.array(["ja", "näin"], dtype=object), "tensor(string)"),
    ],
)
def test_labels_of_every_kind_are_in_the_graph(labels, expected):
    X, y = numbers()
    session = assert_the_graph_is_the_estimator(plain(nn.Linear).fit(X, labels[y]), X)
    assert session.get_outputs()[0].type == expected


@pytest.mark.parametrize(
    "labels",
    [np.array(["2020-01-01", "2021-01-01"], "M8[D]"), np.array([3, 2**63], np.uint64)],
    ids=["dates", "64 bits"],
)
def test_labels_that_no_graph_holds_are_refused(labels):
    X, y = numbers()
    model = plain(nn.Linear).fit(X, labels[y])
    with pytest.raises(ValueError, match=r"labels in an ONNX graph must be strings, bools, floats or ints"):
        model.to_onnx(io.BytesIO())


# Losses and modules of every kind


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("criterion", sorted(LOSSES))
def test_the_probabilities_of_each_loss_are_in_the_graph(criterion, n_classes):
    X, y = numbers(n_classes, n=120)
    model = plain(MLP, criterion=criterion, prior_correction=True, decision="balanced", class_weight="balanced")
    if criterion == "asymmetric" and n_classes > 2:
        model.set_params(prior_correction=False, decision="argmax")
    model.fit(X.astype(np.float64), y)  # of great logits, as of the last rows, single precision knows fewer digits
    assert_the_graph_is_the_estimator(model, np.concatenate([X, X * 10, X * 100]), sizes=(2, 360))


class Conv(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5)
        )
        self.last = nn.Linear(4, n_outputs)

    def forward(self, X):
        return self.last(self.layers(X[:, None])), X.mean()


class Flat(nn.Module):
    """Logits of shape (n,), in half precision."""

    def __init__(self, n_features):
        super().__init__()
        self.last = nn.Linear(n_features, 1)

    def forward(self, X):
        X += 1
        return self.last(X)[:, 0].half()


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(5, 3), nn.Linear(10, 1)

    def forward(self, amounts, country):
        return self.last(torch.cat([amounts, self.embedding(country.long())], dim=1))


@pytest.mark.parametrize(
    ("module", "parameters", "kind"),
    [
        (nn.Linear, {}, np.float64),
        (nn.Linear, {"module__out_features": 2, "decision": 0.3}, np.float32),
        (MLP, {"module__activation": nn.Tanh, "schedule": "deferred", "class_weight": "sqrt"}, np.float32),
        (MLP, {"module__dropout": 0.2}, np.float64),
        pytest.param(
            nn.Sequential(nn.BatchNorm1d(7), nn.Linear(7, 1)), {}, np.float64, marks=batch_norm, id="batch norm"
        ),
        (Flat, {}, np.float32),
        (MLPEnsemble, {}, np.float64),
    ],
)
def test_modules_of_the_users_with_one_logit_or_two_in_both_precisions(module, parameters, kind):
    X, y = numbers(kind=kind)
    assert_the_graph_is_the_estimator(plain(module, **parameters).fit(X, y), X.astype(np.float32))


@batch_norm
def test_images_of_a_convolution():
    rng = np.random.RandomState(0)
    X, y = rng.randn(60, 6, 5).astype(np.float32), np.arange(60) % 3
    session = assert_the_graph_is_the_estimator(plain(Conv).fit(X, y), X)
    assert session.get_inputs()[0].shape == ["n", 6, 5]


def test_a_dict_of_arrays_becomes_an_input_for_each_name():
    X, y = numbers()
    X = {"amounts": X, "country": np.arange(len(X)) % 5}
    model = plain(TwoInputs).fit(X, y)
    session = assert_the_graph_is_the_estimator(model, X)
    assert [each.name for each in session.get_inputs()] == ["amounts", "country"]
    model = plain(TwoInputs, dtype=None).fit(X, y)
    with pytest.raises(ValueError, match=r"to_onnx must be given X, a few rows as in fit: dtype=None lets values"):
        model.to_onnx(io.BytesIO())
    for example in (X, take(X, 1)):
        session = assert_the_graph_is_the_estimator(model, X, example)
        assert [each.type for each in session.get_inputs()] == ["tensor(float)", "tensor(int64)"]


class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, place):
        return torch.full((7,), place / 40), 0


def test_a_dataset_is_shown_to_the_exporter():
    model = plain(nn.Linear).fit(Images(), np.arange(40) % 2)
    with pytest.raises(ValueError, match=r"to_onnx must be given X, a few rows as in fit: rows of a Dataset may be"):
        model.to_onnx(io.BytesIO())
    session = session_of(model, Images())
    X = np.stack([Images()[place][0] for place in range(40)])
    np.testing.assert_allclose(session.run(None, feed(session, X))[1], model.predict_proba(Images()), atol=1e-6)


def test_sparse_rows_are_dense_in_the_graph():
    X, y = numbers()
    X[X < 0] = 0
    assert_the_graph_is_the_estimator(quick().fit(sparse.csr_array(X), y), X)


def test_a_compiled_module_is_exported_as_it_was_before():
    X, y = numbers()
    model = plain(nn.Linear).fit(X, y)
    model.net_.module_ = torch.compile(model.net_.module_, backend="eager")
    assert_the_graph_is_the_estimator(model, X)


# Tables of every kind


@pytest.mark.parametrize("seed", range(3))
def test_tables_drawn_at_random(seed):
    rng = np.random.RandomState(seed)
    n, columns = 200, {}
    for place in range(rng.randint(1, 7)):
        levels = [["a", "B", "é x", "\n"], ["", "b"], [1, 2, 3], [2**25 + 1, 5], [0.1, -0.0], [True, False]]
        kind = rng.randint(len(levels) + 2)
        if kind < len(levels):
            values = pd.Series(rng.choice(np.array(levels[kind], dtype=object), n))
            values[rng.rand(n) < rng.choice([0, 0.3])] = None
            column = pd.Categorical(values) if kind > 1 else values
        else:
            column = (rng.randn(n) * 10.0 ** rng.randint(-3, 4)).astype(np.float32).round(rng.randint(0, 4))
            column[rng.rand(n) < rng.choice([0, 0.3])] = np.nan
        columns[rng.choice(["", "x", "probabilities", "net/"]) + str(place)] = column
    X = pd.DataFrame(columns)
    y = rng.choice(["no", "yes"], n, p=[0.7, 0.3])
    model = quick(decision=rng.choice(["trained", "balanced"]), max_epochs=1).fit(X, y)
    for name, levels in zip(model.columns_.names, model.columns_.levels, strict=True):
        if levels and "" in levels:  # what is missing has no word then
            X[name] = X[name].fillna("b")
    assert_the_graph_is_the_estimator(model, X, sizes=(1, 200))


def in_polars(X):
    lists = {name: [None if pd.isna(value) else value for value in X[name]] for name in X}
    return pl.DataFrame(lists, schema_overrides={"amount": pl.Float32})


def numbered(X):
    return X.set_axis(range(3), axis=1)


@pytest.mark.parametrize("library", [in_polars, numbered])
def test_polars_and_names_that_are_no_strings(library):
    X, y = table()
    X = library(X[["amount", "country", "items"]])
    session = assert_the_graph_is_the_estimator(quick().fit(X, y), X)
    assert [each.name for each in session.get_inputs()] == [str(name) for name in X.columns]


def test_names_that_outputs_have_and_none_are_called_otherwise():
    X, y = rows()
    X = pd.DataFrame(X, columns=["label", "probabilities", "", "label_column", "net/in_0", "a b", "net/labels"])
    session = assert_the_graph_is_the_estimator(quick().fit(X, y), X)
    names = ["label_column_column", "probabilities_column", "_column", "label_column", "net/in_0", "a b", "net/labels"]
    assert [each.name for each in session.get_inputs()] == names


def test_no_word_means_missing_where_the_empty_one_is_a_level():
    X = pd.DataFrame({"word": ["", "b", "c"] * 40})
    model = quick().fit(X, np.arange(120) % 2)
    session = assert_the_graph_is_the_estimator(model, X)
    assert metadata(session)["columns"][0]["missing"] is None


@pytest.mark.parametrize(
    "levels", [[2**60, 2**60 + 1], list(pd.to_datetime(["2020-01-01", "2021-01-01"]))], ids=["large", "dates"]
)
def test_levels_that_no_graph_holds_are_refused(levels):
    X = pd.DataFrame({"key": pd.Categorical([levels[i % 2] for i in range(80)])})
    model = quick(max_epochs=1).fit(X, np.arange(80) % 2)
    with pytest.raises(ValueError, match=r"must be strings, or numbers that a float holds exactly, .* of 'key' are"):
        model.to_onnx(io.BytesIO())


@pytest.mark.parametrize("name", ["hypothyroid", "ecoli"])
def test_graphs_of_real_sets(name):
    from public_sets import load

    X, y = load(name, rows_per_class=5)
    X = X.astype(dict.fromkeys(X.select_dtypes("number"), np.float32))
    model = quick(class_weight="balanced", prior_correction=True, decision="balanced", max_epochs=5).fit(X, y)
    assert_the_graph_is_the_estimator(model, X, sizes=(1, len(X)))


# What an export leaves alone


def test_an_export_is_silent_and_changes_nothing(capfd, caplog):
    X, y = numbers()
    model = plain(MLP, module__dropout=0.1, class_weight="balanced").fit(X, y)
    model.module_.train()
    model.decision = "argmax"  # which nothing has looked at yet
    before, prediction, state = pickle.dumps(model), model.net_.prediction_, torch.get_rng_state()
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript")}
    filters = copy.copy(warnings.filters)
    model.to_onnx(io.BytesIO())
    assert model.module_.training
    assert model.net_.prediction_ is prediction
    assert pickle.dumps(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert warnings.filters == filters
    assert {name: logging.getLogger(name).level for name in levels} == levels
    assert torch.is_grad_enabled()
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


def test_the_graph_says_nothing_of_the_machine_that_wrote_it():
    X, y = numbers()
    file = io.BytesIO()
    plain(nn.Linear).fit(X, y).to_onnx(file)
    assert b".py" not in file.getvalue()
    assert str(Path(__file__).parent.parent).encode() not in file.getvalue()


def test_a_file_that_can_not_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    X, y = numbers()
    model, path = plain(nn.Linear).fit(X, y), tmp_path / "model.onnx"
    model.to_onnx(path)
    old = path.read_bytes()
    model.set_params(decision=0.9)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="path: No space left on device"):
            model.to_onnx(path)
    assert path.read_bytes() == old
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    model.to_onnx(str(path))
    assert path.read_bytes() != old


# What can't be exported


class Loops(nn.Module):
    """A number of steps that depends on the values."""

    def __init__(self, n_features):
        super().__init__()
        self.last = nn.Linear(n_features, 1)

    def forward(self, X):
        while X.abs().max() > 1:
            X = X / 2
        return self.last(X)


class FixedRows(Loops):
    def forward(self, X):
        return self.last(X if len(X) != 2 else X + 0.5)


@pytest.mark.parametrize("module", [Loops, FixedRows])
def test_a_module_that_the_exporter_can_not_follow_is_named_with_the_reason(module):
    X, y = numbers()
    model = plain(module).fit(X, y)
    with pytest.raises(ValueError, match=rf"can't become an ONNX graph: .* {module.__name__}, or decision='trained'"):
        model.to_onnx(io.BytesIO())


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (lambda proba, X: proba[:, ::-1] * X[:, :1], r"decision as a function cost\(proba, X\) needs X"),
        ({"precision": 0.999}, r"needs rows that the net has not trained on, and none are held out"),
    ],
    ids=["costs by row", "no rows held out"],
)
def test_a_decision_that_no_graph_can_make_says_why(decision, reason):
    X, y = numbers()
    model = plain(nn.Linear).fit(X, y).set_params(decision=decision)
    with pytest.raises(ValueError, match=reason):
        model.to_onnx(io.BytesIO())


def test_the_extra_is_named_where_a_package_lacks(monkeypatch, tmp_path):
    X, y = numbers()
    model = plain(nn.Linear).fit(X, y)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"needs the packages onnx and onnxscript .* 'imbalanced-torch\[onnx\]'"):
        model.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_target_that_is_no_file_is_refused_before_any_work():
    X, y = numbers()
    with pytest.raises(TypeError, match=r"path must be a path or a file open for writing; it is 3\."):
        plain(nn.Linear).fit(X, y).to_onnx(3)


# The operators

EXTREMES = [-torch.inf, -800.0, -104.0, -37.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 1.0, 2.0, 3.0, 80.0, 750.0, torch.inf]
GRID = [[-1.0, -1.0, 0.0, 2.0, torch.inf], [0.0, 1.0, 2.0, 3.0, 3.0]]
OPERATORS = {
    "log1p": lambda X: torch.log1p(X.exp()) + X.abs().neg().exp().log1p(),
    "logsigmoid": torch.nn.functional.logsigmoid,
    "addcmul": lambda X: torch.addcmul(X, X.tanh(), X.sigmoid(), value=0.5),
    "baddbmm": lambda X: torch.baddbmm(X[:, None], X[:, None], X[:, :, None] * X[:, None], beta=0.5, alpha=2),
    "logsumexp": lambda X: torch.logsumexp(torch.stack([X, X + 1]), 0),
    "logsumexp of all": lambda X: X.logsumexp((0, 1), keepdim=True),
    "searchsorted": lambda X: torch.searchsorted(torch.tensor(GRID).to(X), X.t().contiguous()),
    "searchsorted to the right": lambda X: torch.searchsorted(
        torch.tensor(GRID).to(X), X.t().contiguous(), side="right", out_int32=True
    ),
    "searchsorted in one": lambda X: torch.searchsorted(torch.tensor(GRID[1]).to(X), X, right=True),
    "bucketize": lambda X: torch.bucketize(X, torch.tensor(GRID[0][1:]).to(X)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", OPERATORS.values(), ids=OPERATORS)
def test_operators_that_torch_does_not_export_well_keep_all_digits(function, dtype):
    X = torch.tensor([*EXTREMES, torch.nan], dtype=dtype)[:, None].repeat(1, 2)
    expected = function(X)
    with InOperatorsOfONNX():
        found = function(X)
    assert found.dtype == expected.dtype
    epsilon = torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=4 * epsilon, atol=torch.finfo(dtype).tiny, equal_nan=True)


class Operators(nn.Module):
    def forward(self, X):
        with InOperatorsOfONNX():
            return tuple(function(X) for function in OPERATORS.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_operators_are_the_same_in_a_graph(dtype):
    X = torch.tensor(EXTREMES[1:-1], dtype=dtype)[:, None].repeat(1, 2)
    with _quiet():
        traced = torch.export.export(Operators(), (X,), dynamic_shapes=({0: torch.export.Dim("n", max=2**40)},))
        program = torch.onnx.export(traced, dynamo=True, verbose=False, optimize=False, opset_version=18)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    for one, function in zip(found, OPERATORS.values(), strict=True):
        expected = function(X).numpy()
        assert one.dtype == expected.dtype
        np.testing.assert_allclose(one, expected, rtol=8 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).tiny)
