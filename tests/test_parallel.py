"""Worker processes of any kind: one torch thread in each, no waiting for threads that a fork has lost."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import numpy as np, torch
from joblib import Parallel, delayed, parallel_config
from skorch.callbacks import Callback
from sklearn.model_selection import GridSearchCV
from imbalanced_torch import MLP, ImbalancedNetClassifier

rng = np.random.default_rng(0)
X, y = rng.standard_normal((2000, 20)).astype("float32"), rng.integers(0, 2, 2000)


class Threads(Callback):
    def on_batch_end(self, net, **kwargs):
        net.history.record("threads", torch.get_num_threads())


def work():
    net = ImbalancedNetClassifier(MLP, callbacks=[Threads()], max_epochs=1, batch_size=1024).fit(X, y)
    net.predict_proba(X)
    return net.history_[-1, "threads"], torch.get_num_threads()


if __name__ == "__main__":
    torch.set_num_threads(2)
    work()
    values = torch.randn(3000, 3000)
    (values @ values).relu().sum()  # the threads are there
    with parallel_config(**json.loads(sys.argv[1])):
        found = Parallel(n_jobs=2)(delayed(work)() for _ in range(2))
        net, grid = ImbalancedNetClassifier(MLP, max_epochs=1), {"sampling": [None, "weighted"]}
        search = GridSearchCV(net, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    scored = len(search.cv_results_["rank_test_score"])
    print(json.dumps({"workers": found, "here": torch.get_num_threads(), "scored": scored}))
"""


FORKED = """
import json, multiprocessing
import torch
from imbalanced_torch._net.global_state import worker_threads


def work(queue):
    with worker_threads():
        during = torch.get_num_threads()
    queue.put((during, torch.get_num_threads()))


if __name__ == "__main__":
    torch.set_num_threads(2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with worker_threads():  # as in a fit
        process = context.Process(target=work, args=(queue,))
        process.start()
        process.join()
        assert process.exitcode == 0
        print(json.dumps(queue.get()))
"""


def ran(config, script=SCRIPT):
    """Run a script with a joblib configuration; return what it saw."""
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", script, json.dumps(config)]
    done = subprocess.run(command, capture_output=True, text=True, env=inherited, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_a_worker_process_has_one_thread_while_it_fits(backend):
    found = ran({"backend": backend})
    assert [during for during, _ in found["workers"]] == [1, 1]
    assert found["here"] == 2
    assert found["scored"] == 2
    if backend == "multiprocessing":  # joblib limits loky's workers itself
        assert [after for _, after in found["workers"]] == [2, 2]


def test_threads_of_this_process_are_left_alone():
    assert ran({"backend": "threading"}) == {"workers": [[2, 2], [2, 2]], "here": 2, "scored": 2}


def test_a_worker_process_that_was_told_otherwise_is_left_alone():
    assert ran({"backend": "loky", "inner_max_num_threads": 2})["workers"] == [[2, 2], [2, 2]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_in_the_middle_of_a_fit_begins_anew():
    assert ran({}, FORKED) == [1, 2]
