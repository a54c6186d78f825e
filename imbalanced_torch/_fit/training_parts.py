"""What a net trains with: folds of members, a plan of epochs, when to stop; and what it says of held-out rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

from imbalanced_torch._data.rows import class_counts
from imbalanced_torch._data.training_data import TrainingData
from imbalanced_torch._ensemble.folds import deal
from imbalanced_torch._ensemble.members import Members
from imbalanced_torch._ensemble.stopping import StopOutOfFold
from imbalanced_torch._fit.held_out_metrics import HeldOutMetrics, HeldOutScore, resolve_score, resolve_scoring
from imbalanced_torch._fit.progress import Progress
from imbalanced_torch._fit.scikit_learn_callbacks import epoch_tasks
from imbalanced_torch._fit.seeds import HOLDOUT
from imbalanced_torch._fit.settings import Settings
from imbalanced_torch._net.callbacks import EarlyStopping
from imbalanced_torch._net.global_state import sub_seed
from imbalanced_torch._net.skorch_net import STOPPING, ImbalancedNet
from imbalanced_torch._parameters.checks import user_sampler_parameter
from imbalanced_torch._parameters.constraints import warn_of_few_rows
from imbalanced_torch._persistence.training_checkpoint import TrainingFile
from imbalanced_torch._prediction.held_out import HeldOutRows
from imbalanced_torch._prediction.prediction import while_training
from imbalanced_torch._remedies.class_priors import ClassPriors
from imbalanced_torch._remedies.plan import Remedies, TrainingPlan
from imbalanced_torch._remedies.schedule import resolve_schedule

#: Held-out rows of all processes of a group that each keeps.
_HELD_OUT_ROWS = 1_000_000


def check_same_rows(checkpoint: TrainingFile | None, data: TrainingData) -> None:
    """Raise ValueError if a fit would go on from a file that was saved from other rows."""
    if checkpoint is not None:
        checkpoint.is_of(data.named())


def deal_folds(settings: Settings, data: TrainingData, seed: int) -> np.ndarray | None:
    """Return which member of an ensemble holds out which training row; None where none holds one out."""
    if settings.n_members is None or data.validation is not None:
        return None
    rows: Any = data.training
    X = rows.inputs(slice(None)).numpy() if settings.one_batch else None
    return deal(rows.codes, settings.n_members, seed, X, data.group)


def make_plan(
    estimator: Any,
    settings: Settings,
    data: TrainingData,
    folds: np.ndarray | None,
    seed: int,
    previous: ClassPriors | None,
    *,
    goes_on: bool,
    single_epoch: bool,
) -> TrainingPlan:
    """Return what each epoch of a fit learns from.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    settings : Settings
    data : TrainingData
    folds : int array of shape (n,) or None
        Which member of an ensemble holds out which row; None where none does.
    seed : int
        Of the draw of rows.
    previous : ClassPriors or None
        What earlier calls of `partial_fit` have shown the net.
    goes_on : bool
        Whether training goes on from an earlier call, or may go on after this one.
    single_epoch : bool
        Whether this is a call of `partial_fit`, whose epoch is all rows.
    """
    loader, epoch_size = estimator._part("iterator_train"), estimator._number("epoch_size")
    warn_of_few_rows(epoch_size, settings.batch_size, len(data.classes))
    schedule = resolve_schedule(
        estimator._with_parameters("schedule"),
        has_remedy=estimator.class_weight is not None or estimator.sampling is not None,
        continues=goes_on,
        max_epochs=settings.max_epochs,
    )
    remedies = Remedies(
        class_weight=estimator._with_parameters("class_weight"),
        sampling=estimator._with_parameters("sampling"),
        schedule=schedule,
        epoch_size=settings.epoch_rows if epoch_size is None and not single_epoch else epoch_size,
        max_epochs=settings.max_epochs,
        batch_size=loader.get("batch_size", settings.batch_size),
        drop_last=loader.get("drop_last", False),
        draw_is_known=not user_sampler_parameter(loader),
    )
    rows: Any = data.training
    generator = torch.Generator().manual_seed(data.group.own(seed))
    own = _rows_of_members(folds, settings.n_members, len(rows))
    return TrainingPlan(remedies, rows.codes, rows.sample_weight, data.classes, generator, previous, own, data.group)


def _rows_of_members(folds: np.ndarray | None, n_members: int | None, n_rows: int) -> list[np.ndarray] | None:
    """Return the rows that each member of an ensemble trains on; None for one net."""
    if n_members is None:
        return None
    if folds is None:
        return [np.arange(n_rows)] * n_members
    return [np.flatnonzero(folds != member) for member in range(n_members)]


def make_stopping(
    estimator: Any, settings: Settings, plan: TrainingPlan, score: HeldOutScore | None
) -> EarlyStopping | StopOutOfFold:
    """Return the callback that stops training early, once a schedule's plain epochs are over."""
    schedule, patience = plan.remedies.schedule, estimator._number("n_iter_no_change") or settings.n_iter_no_change
    plain_epochs = 0 if schedule is None else schedule.first_to_keep(settings.max_epochs)
    if settings.n_members is not None:
        return StopOutOfFold(patience, after=plain_epochs, blends=not settings.one_batch, score=score)
    return EarlyStopping(patience, float(estimator.tol), after=plain_epochs, score=score)


@dataclass(frozen=True)
class Scores:
    """Scores of held-out rows in one fit: for the history, to stop on, and for those who watch."""

    recorded: list[HeldOutScore]
    stops: HeldOutScore | None
    shown: list[HeldOutScore]


def make_scores(estimator: Any, data: TrainingData, plan: TrainingPlan) -> Scores:
    """Return what is made of held-out rows after each epoch; raise for a score that is none."""
    rarest = int(plan.row_counts[1] <= plan.row_counts[0])
    recorded = resolve_scoring(estimator.scoring, data.classes, rarest)
    stopping, stops = estimator.early_stopping, None
    if not isinstance(stopping, bool | np.bool_) and not (isinstance(stopping, str) and stopping == "auto"):
        stops = resolve_score("early_stopping", stopping, data.classes, rarest)
        if stops.name not in [score.name for score in recorded]:
            recorded = [*recorded, stops]
    shown = resolve_scoring(["balanced_accuracy", "average_precision"], data.classes, rarest)
    # To show scores takes messages between processes, of which one may show them and another not.
    return Scores(recorded, stops, shown if estimator.verbose == 1 and data.group.alone else [])


def make_callbacks(
    estimator: Any,
    settings: Settings,
    data: TrainingData,
    plan: TrainingPlan,
    scores: Scores,
    given: tuple[Any, Any, Any] | None,
) -> list[tuple[str, Callback]]:
    """Return what scores and shows epochs, stops training, and tells scikit-learn's callbacks, in this order.

    `given` are X, y and sample_weight as the user gave them; None in a call of `partial_fit`.
    """
    if estimator.verbose:
        print(settings)
    callbacks: list[tuple[str, Callback]] = []
    if given is None:
        return callbacks
    if scores.recorded:
        callbacks.append(("held_out_metrics", HeldOutMetrics(scores.recorded)))
    if estimator.verbose == 1:
        callbacks.append(("progress", Progress(settings.max_epochs, scores.shown, settings.n_members or 1)))
    if data.stops_early:
        callbacks.append((STOPPING, make_stopping(estimator, settings, plan, scores.stops)))
    decision = while_training(estimator._with_parameters("decision"), data.classes, holds_out=True)
    fitted = {"classes_": data.classes, "decision": decision, "_held_out": None, **data.columns}
    return [*callbacks, *epoch_tasks(estimator, *given, settings.max_epochs, fitted)]


def make_members(net: ImbalancedNet, settings: Settings, data: TrainingData, folds: Any, seed: int) -> Members | None:
    """Return the rows of each member of an ensemble; None for one net."""
    if settings.n_members is None:
        return None
    device = torch.device("cpu" if net.device is None else net.device)
    members = Members(
        net.module_,
        data.training,
        folds,
        data.validation,
        len(data.classes),
        one_batch=settings.one_batch,
        seed=sub_seed(seed, HOLDOUT),
        device=device,
        group=data.group,
    )
    if not int(net.module_.n_steps):
        some = torch.arange(min(len(data.training), 4096))
        weights = None if members.weights is None else members.weights[some]
        net.module_.scale_to(members.encoded.take(some), weights, data.group)
    return members


def held_out_rows(net: ImbalancedNet, data: TrainingData, members: Members | None) -> HeldOutRows | None:
    """Return what a trained net says of rows that it has not trained on; None where there are none."""
    if not net.criterion_.has_probabilities:
        return None
    rows: Any = data.validation
    if members is not None and members.folds is not None:
        rows = data.training
        return HeldOutRows(members.out_of_fold_logits(), rows.codes, rows.sample_weight, members.folds.astype(np.int16))
    if rows is None:
        return None
    # A small shard may hold out no row.
    logits = net.logits(rows).numpy() if len(rows) else np.empty((0, 1), dtype=np.float32)
    return HeldOutRows(logits, rows.codes, rows.sample_weight)


def held_out_of_all(held_out: HeldOutRows, data: TrainingData, seed: int) -> HeldOutRows:
    """Return the held-out rows of all processes of a group, thinned by class where there are many.

    Goals are settled on them, on all processes alike. Of a class that is thinned each row counts for several.
    """
    group, codes = data.group, held_out.codes
    if group.alone:
        return held_out
    weights = np.ones(len(codes)) if held_out.sample_weight is None else held_out.sample_weight.astype(float)
    kept, random = np.ones(len(codes), dtype=bool), np.random.RandomState(group.own(seed))
    counts = group.sum(class_counts(codes, len(data.classes)))
    for code in np.flatnonzero(counts > _HELD_OUT_ROWS / len(data.classes)):
        own, share = codes == code, _HELD_OUT_ROWS / len(data.classes) / counts[code]
        kept[own] = random.random(int(own.sum())) < share
        weights[own] /= share
    thinned = bool((counts > _HELD_OUT_ROWS / len(data.classes)).any())
    return HeldOutRows(
        group.joined(held_out.logits[kept]),
        group.joined(codes[kept]),
        group.joined(weights[kept]) if thinned or held_out.sample_weight is not None else None,
        None if held_out.members is None else group.joined(held_out.members[kept]),
    )
