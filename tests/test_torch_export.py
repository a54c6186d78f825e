"""The fitted module goes through torch's own exporter and compiler, with any number of rows."""

import copy
import io
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_classification
from tolerances import assert_close_to_rounding

from imbalanced_torch import MLP, ImbalancedNetClassifier

SIZES = (1, 2, 7, 300)


def fitted(module, n_classes, dtype):
    """Return a trained module, and rows of numbers, of which one has missing values, one is binary and one constant."""
    X, y = make_classification(
        *(300, 6),
        n_informative=4,
        n_classes=n_classes,
        n_clusters_per_class=1,
        weights=[0.7, 0.2][: n_classes - 1],
        random_state=0,
    )
    X[:, 1], X[:, 2] = X[:, 1] > 0, 3
    X[::5, 3] = np.nan if module is None else 0
    X = X.astype(dtype)
    model = ImbalancedNetClassifier(module, max_epochs=2, random_state=0).fit(X, y)
    return model.module_.eval(), torch.from_numpy(X)


def exported(module, rows):
    return torch.export.export(module, (rows[:2],), dynamic_shapes=({0: torch.export.Dim("n", max=2**40)},))


def assert_same(one, other, rows):
    with torch.no_grad():
        for n in SIZES:
            assert_close_to_rounding(one(rows[:n]), other(rows[:n]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("module", [None, MLP])
def test_the_fitted_module_is_exported_for_any_number_of_rows(module, n_classes, dtype):
    net, rows = fitted(module, n_classes, dtype)
    program = exported(net, rows)
    assert_same(program.module(), net, rows)
    if module is None:  # rows of either precision
        rows = rows.to(torch.float32 if dtype == np.float64 else torch.float64)
        assert_same(exported(net, rows).module(), net, rows)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch 2.6 warns of files that it has written
def test_a_net_of_a_table_is_exported_as_a_function_of_codes_and_comes_back_from_a_file():
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"a": rng.randn(200), "b": rng.choice(["x", "y", None], 200)})
    model = ImbalancedNetClassifier(max_epochs=2, random_state=0).fit(X, rng.rand(200) > 0.7)
    rows = torch.from_numpy(model.columns_.values(X))
    rows[0, 1] = -1  # a level that no training row has
    net, file = model.module_.eval(), io.BytesIO()
    torch.export.save(exported(net, rows), file)
    file.seek(0)
    assert_same(torch.export.load(file).module(), net, rows)


@pytest.mark.filterwarnings("ignore")  # torch compiles with warnings of its own
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("module", [None, MLP])
def test_the_fitted_module_is_traced_by_the_compiler(module, dtype):
    net, rows = fitted(module, 2, dtype)
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(net), dynamic=True, backend="aot_eager", fullgraph=True)
    assert_same(compiled, net, rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")
def test_the_default_net_is_compiled():
    net, rows = fitted(None, 2, np.float32)
    torch.compiler.reset()
    assert_same(torch.compile(copy.deepcopy(net), dynamic=True, fullgraph=True), net, rows)
