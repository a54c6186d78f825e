"""Where the randomness of a fit comes from: one seed, and a stream for each thing that draws."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from skorch.helper import SliceDataset
from torch.utils.data import Dataset

from imbalanced_torch._ensemble.ensemble import MLPEnsemble
from imbalanced_torch._fit.agreement import agree_on_parameters
from imbalanced_torch._group.processes import Group
from imbalanced_torch._net.global_state import global_stream
from imbalanced_torch._net.module import MLP
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._persistence.training_checkpoint import TrainingFile, open_checkpoint

#: What each random stream of a fit is keyed by.
INIT, TRAINING, SAMPLING, HOLDOUT, COLUMNS = range(5)


def choose_seed(
    estimator: Any, X: Any, net: ImbalancedNet | None, group: Group, *, single_epoch: bool
) -> tuple[int, TrainingFile | None]:
    """Return the seed of a fit, and the file that it goes on from and saves to, if the estimator has a checkpoint.

    The processes of a group have the first one's seed.
    """
    seed = check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max) if net is None else net.seed
    call = f"{'partial_fit' if single_epoch else 'fit'} from epoch {0 if net is None else len(net.history)}"
    seed = agree_on_parameters(estimator, group, seed, call)
    goes_on, draws = net is not None or single_epoch, draws_globally(estimator, X)
    checkpoint = open_checkpoint(estimator, seed, group, goes_on=goes_on, draws_globally=draws)
    return (seed if checkpoint is None else checkpoint.seed), checkpoint


def random_stream(estimator: Any, X: Any) -> AbstractContextManager[None]:
    """Return what puts torch's global generator back after a fit, where something may draw from it."""
    return global_stream() if draws_globally(estimator, X) else nullcontext()


def draws_globally(estimator: Any, X: Any) -> bool:
    """Whether something of the user's may draw from torch's global generator in training."""
    loaders = any(name.startswith("iterator_") for name in estimator._kwargs)
    theirs = estimator.callbacks or estimator.train_split or loaders or "module__activation" in estimator._kwargs
    return bool(
        estimator.module not in (None, MLP, MLPEnsemble)
        or not (estimator.criterion is None or isinstance(estimator.criterion, str))
        or estimator.net_class is not ImbalancedNet
        or isinstance(X, Dataset | SliceDataset)
        or theirs
    )
