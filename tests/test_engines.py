"""Engines that start processes, Ray and Dask, and rows read from a folder; each test skips without its package."""

import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

from imbalanced_torch import MLP, ImbalancedNetClassifier

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

import cluster_ray
import parquet_folder

# Of the engines, and of what their processes leave open.
pytestmark = pytest.mark.filterwarnings("ignore")
X, y = make_classification(300, n_features=5, n_informative=3, weights=[0.85], random_state=0)


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    there = {"env_vars": {"PYTHONPATH": str(Path(cluster_ray.__file__).parent)}}  # of the example
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=there)
    yield ray
    ray.shutdown()


def search(backend=None):
    """Return the scores and the best net's probabilities of a search, by joblib's backend of this name."""
    grid = {"class_weight": [None, "balanced"], "sampling": [None, "weighted"]}
    model = GridSearchCV(
        ImbalancedNetClassifier(MLP, max_epochs=3, random_state=0), grid, cv=2, n_jobs=1 if backend is None else 2,
        scoring="balanced_accuracy", error_score="raise",
    )  # fmt: skip
    if backend is None:
        model.fit(X, y)
    else:
        with joblib.parallel_config(backend):
            model.fit(X, y)
    return model.cv_results_["mean_test_score"], model.predict_proba(X)


def test_a_grid_search_over_dask_is_that_of_one_job_bit_by_bit():
    pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        over_dask = search("dask")
    for one, other in zip(search(), over_dask, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_grid_search_over_ray_is_that_of_one_job_bit_by_bit(ray):
    from ray.util.joblib import register_ray

    register_ray()
    for one, other in zip(search(), search("ray"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_workers_of_ray_train_fit_one_net_on_a_folder(ray, tmp_path):
    folder = tmp_path / "table"
    folder.mkdir()
    cluster_ray.write_folder(folder, n_files=2, n_rows=500)
    cluster_ray.fit_over_workers(folder, tmp_path / "net", epochs=2)
    model = ImbalancedNetClassifier.load(tmp_path / "net")
    assert model.class_priors_.n_rows == 1000
    shares = [np.mean(cluster_ray.rows_of(place, 500)[1] == "fraud") for place in range(2)]
    assert model.class_prior_[0] == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("kind", ["folder", "file", "arrow", "in memory", "partitioned", "columns in any order"])
def test_a_table_of_pyarrow_is_mapped_as_it_is(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    dataset = pytest.importorskip("pyarrow.dataset")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({**{f"x{j}": X[:, j].astype(np.float32) for j in range(5)}, "label": y})
    rows = tmp_path / "rows"
    if kind == "folder":
        rows.mkdir()
        for place in range(3):
            parquet.write_table(table.slice(100 * place, 100), rows / f"{place}.parquet", row_group_size=30)
    elif kind == "file":
        parquet.write_table(table, rows, row_group_size=70)
    elif kind == "arrow":
        dataset.write_dataset(table, rows, format="arrow")
        rows = dataset.dataset(rows, format="arrow")
    elif kind == "partitioned":  # a column is in the folders' names, and rows come as they are sorted by it
        by = pa.table({**dict(zip(table.column_names, table.columns, strict=True)), "x0": np.repeat([1, 2], 150)})
        dataset.write_dataset(by, rows, format="parquet", partitioning=["x0"], partitioning_flavor="hive")
        rows = dataset.dataset(rows, partitioning="hive")
    elif kind == "columns in any order":
        rows.mkdir()
        parquet.write_table(table.slice(0, 100), rows / "0.parquet")
        parquet.write_table(table.slice(100).select(table.column_names[::-1]), rows / "1.parquet")
    else:
        rows = dataset.dataset(table)
    values, labels = parquet_folder.mapped(rows, "label", tmp_path / "X.npy")
    assert isinstance(values, np.memmap)
    expected = X.astype(np.float32)
    if kind == "partitioned":
        expected = np.column_stack([X[:, 1:], np.repeat([1, 2], 150)]).astype(np.float32)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(labels, y)
    parameters = {"module": MLP, "sampling": "weighted", "max_epochs": 2, "random_state": 0}
    one, other = (ImbalancedNetClassifier(**parameters).fit(data, y) for data in (values, expected))
    np.testing.assert_array_equal(one.predict_proba(expected), other.predict_proba(expected))


WITHIN_MEMORY = """
import sys, threading, time
from pathlib import Path
import numpy as np
import parquet_folder
from imbalanced_torch import MLP, ImbalancedNetClassifier


def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def watch():
    while True:
        seen.append(anonymous())
        time.sleep(0.005)


small = np.random.default_rng(0).standard_normal((500, 50), dtype=np.float32)
model = ImbalancedNetClassifier(MLP, sampling="weighted", max_epochs=1, batch_size=4096, random_state=0)
model.fit(small, small[:, 0] > 1)  # what a process does once
before, seen = anonymous(), []
threading.Thread(target=watch, daemon=True).start()
X, y = parquet_folder.mapped(Path(sys.argv[1]), "label", Path(sys.argv[2]))
model.fit(X, y)
print(X.nbytes / 2**20, max(seen) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("n_files", [6, 1])
def test_a_folder_is_read_and_trained_on_in_less_memory_than_it_takes(tmp_path, n_files):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "rows").mkdir()
    random = np.random.default_rng(0)
    n = 1_200_000 // n_files
    for place in range(n_files):
        columns = {f"x{j}": random.standard_normal(n, dtype=np.float32) for j in range(50)}
        label = random.random(n) < 0.05
        file = tmp_path / "rows" / f"{place}.parquet"
        parquet.write_table(pa.table({**columns, "label": label}), file, row_group_size=1 << 16, use_dictionary=False)
    command = [sys.executable, "-c", WITHIN_MEMORY, tmp_path / "rows", tmp_path / "X.npy"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    data, greatest = map(float, ended.stdout.split())
    assert data > 220
    assert greatest < 0.75 * data
