"""A model card, filled with what a fitted estimator knows of its classes, its training and its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from imbalanced_torch._export.parameters_as_json import path_to
from imbalanced_torch._export.saved_model import parts_to_hand_over
from imbalanced_torch._parameters.values import labels_of, listed
from imbalanced_torch._prediction.decision import Offsets, RowCosts, Unreached
from imbalanced_torch._prediction.held_out import Evidence
from imbalanced_torch._prediction.prediction import Prediction, evidence_of, rarest_of
from imbalanced_torch._version import __version__

#: With fewer rows of a class, scores and decisions are guesses.
_FEW = 20
#: Draws of the bootstrap: so many, but fewer where there are many rows.
_DRAWS, _ROWS_DRAWN = 1000, 20_000_000
_CONFIDENCE = 0.95
_REMEDIES = ("class_weight", "sampling", "criterion", "schedule", "prior_correction", "decision")
_SHOWN = 10
_TO_FILL = "[More Information Needed]"


def make_card(estimator: Any) -> Any:
    """Return a skops.card.Card of a fitted estimator."""
    try:
        from skops.card import Card
    except ImportError as error:
        raise ImportError("model_card needs skops: pip install 'imbalanced-torch[card]'.") from error
    prediction = estimator._prediction()
    evidence = None
    if estimator._held_out is not None:
        evidence = evidence_of(estimator._held_out, prediction, estimator.classes_)
    decides = not isinstance(prediction.decision, RowCosts)  # which need X
    reports = estimator.decision_report(confidence=_CONFIDENCE) if decides and evidence is not None else []
    sections = {
        "Model description": _description(estimator),
        "Intended uses & limitations": _TO_FILL,
        "Warnings": _warnings(estimator, prediction, evidence, reports),
        "Classes": _classes(estimator, evidence),
        "Input": _input(estimator),
        "Imbalance": _imbalance(estimator, prediction),
        "Training": _table(["setting", "value"], _training(estimator)),
        "Scores": _scores(estimator, prediction, evidence, reports),
        "How to load the model": _loading(estimator),
        "Hyperparameters": _table(["parameter", "value"], sorted(estimator.get_params().items())),
    }
    card = Card(estimator, template=None, model_diagram=False)
    return card.add(folded=False, **{title: text for title, text in sections.items() if text})


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        text = value
    else:
        text = f"{value:.4g}" if isinstance(value, float | np.floating) else listed(value)
    return " ".join(text.replace("|", "\\|").split())


def _in_words(labels: list[Any]) -> str:
    """Return labels as text; of many the first ones."""
    shown = [str(label) for label in labels[:_SHOWN]]
    return ", ".join(shown + [f"and {len(labels) - _SHOWN} more"] * (len(labels) > _SHOWN))


def _prior_in_words(prior: np.ndarray, classes: np.ndarray) -> str:
    return _in_words([f"{label} {share:.4g}" for label, share in zip(labels_of(classes), prior, strict=True)])


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


# What it is


def _description(estimator: Any) -> str:
    labels = labels_of(estimator.classes_)
    module = estimator.settings_["module"]
    members = estimator.settings_.get("module__n_members")
    what = f"{module}, {members} small nets side by side" if members else module
    return (
        f"A neural net ({what}) that tells {len(labels)} classes apart: {_in_words(labels)}. It is an "
        f"{path_to(type(estimator)).rpartition('.')[2]} of imbalanced-torch {__version__}, trained on "
        f"{estimator.class_priors_.n_rows} rows."
    )


def _counts(estimator: Any, evidence: Evidence | None) -> tuple[str, np.ndarray]:
    """Return what is known of the size of each class in training: rows, or their weights where rows have some."""
    priors = estimator.class_priors_
    held_out = estimator._held_out
    if held_out is not None and held_out.members is not None and len(held_out.codes) == priors.n_rows:
        return "training rows", np.bincount(held_out.codes, minlength=len(estimator.classes_))
    counted = np.isclose(priors.population.sum(), priors.n_rows) and np.array_equal(
        priors.population, np.round(priors.population)
    )
    return ("training rows" if counted else "training rows by weight"), priors.population


def _classes(estimator: Any, evidence: Evidence | None) -> str:
    priors = estimator.class_priors_
    what, counts = _counts(estimator, evidence)
    columns = {
        "class": labels_of(estimator.classes_),
        what: [int(n) if float(n).is_integer() else float(n) for n in counts],
        "prior": priors.class_prior,
        "share shown to the net": priors.sampled_prior,
        "weight in the loss": priors.class_weight,
        "prior it learned under": priors.effective_prior,
    }
    return _table(list(columns), zip(*columns.values(), strict=True))


def _input(estimator: Any) -> str:
    columns = getattr(estimator, "columns_", None)
    if columns is not None:
        levels = ["" if found is None else listed(list(found)) for found in columns.levels]
        return _table(["column", "kind", "levels"], zip(columns.names, columns.kinds, levels, strict=True))
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        return f"A table of the columns {listed(names)}."
    n_features = getattr(estimator, "n_features_in_", None)
    return "" if n_features is None else f"Rows of {n_features} numbers."


# How it was trained, and what is made of its logits


def _imbalance(estimator: Any, prediction: Prediction) -> str:
    """Return the strategy: what the net learned from, what probabilities mean, and how a label is chosen."""
    means = {
        "class_weight": "weights of classes in the loss",
        "sampling": "rows that each epoch sees",
        "criterion": "loss of a row",
        "schedule": "epochs in which these act",
        "prior_correction": "prior that probabilities are at",
        "decision": "how a label is chosen",
    }
    table = _table(["parameter", "value", "sets the"], [(n, getattr(estimator, n), means[n]) for n in _REMEDIES])
    prior = prediction.effective_prior if prediction.target is None else prediction.target
    at = "an unknown prior" if np.isnan(prior).any() else f"the prior {_prior_in_words(prior, estimator.classes_)}"
    return f"{table}\n\n`predict_proba` gives probabilities at {at}."


def _training(estimator: Any) -> list[tuple[str, Any]]:
    epochs = [("epochs trained", estimator.n_iter_), ("epoch whose weights it has", estimator.best_epoch_)]
    return [*estimator.settings_.items(), *epochs]


# What it reaches


def _scores(estimator: Any, prediction: Prediction, evidence: Evidence | None, reports: list[dict[str, Any]]) -> str:
    if evidence is None:
        return ""
    held_out, rare = estimator._held_out, rarest_of(estimator.class_prior_)
    by = (
        "out-of-fold predictions: each row by the member of the ensemble that has not trained on it"
        if held_out.members is not None
        else "the rows that were set aside, on which training stopped too"
    )
    rows = _bootstrapped(prediction, evidence, held_out, rare)
    for report in [report for report in reports if not report["note"]]:
        for name in ("recall", "precision", "share"):
            value, low, high = (report[f"{name}{end}"] for end in ("", "_low", "_high"))
            what = "share of rows called" if name == "share" else f"{name} of"
            rows.append((f"{what} {_cell(report['label'])}", value, low, high, "exact (Clopper-Pearson)"))
    header = ["score", "value", "95 % from", "to", "interval"]
    notes = ["They count by `sample_weight`."] if held_out.sample_weight is not None else []
    if prediction.target is not None and not np.allclose(prediction.target, prediction.class_prior, rtol=1e-6, atol=0):
        notes.append("They count as where classes have the shares that `prior_correction` names.")
    tuned = isinstance(prediction.decision, Offsets)
    after = " The decision was settled on these very rows, and reaches a little less on new ones." if tuned else ""
    return (
        f"On {len(evidence.codes)} rows, {int((evidence.codes == rare).sum())} of them of the rarest class "
        f"{_cell(labels_of(estimator.classes_)[rare])}; {by}. {' '.join([*notes, ''])}The log loss is that of "
        f"probabilities at the prior of the training rows.\n\n{_table(header, rows)}\n\nThe bootstrap draws the rows "
        f"of each class by themselves.{after}"
    )


def _bootstrapped(prediction: Prediction, evidence: Evidence, held_out: Any, rare: int) -> list[tuple[Any, ...]]:
    """Return scores of the probabilities and of the decision, with percentile intervals of a bootstrap."""
    codes, proba = evidence.codes, np.exp(evidence.log_proba)
    classes, label = np.arange(proba.shape[1]), _cell(evidence.label(rare))
    there, ranked = codes == rare, np.argsort(evidence.log_proba[:, rare], kind="stable")
    losses = -evidence.log_proba[np.arange(len(codes)), codes]
    ranks = _Ranks(evidence.log_proba[ranked, rare], there[ranked])
    measures: dict[str, tuple[float, Callable[[np.ndarray], float]]] = {
        "log loss": (
            log_loss(codes, proba / proba.sum(axis=1, keepdims=True), sample_weight=evidence.weights, labels=classes),
            lambda weights: float(np.average(losses, weights=weights)),
        )
    }
    if there.any() and not there.all():
        odds = evidence.margins(rare) if len(classes) == 2 else evidence.log_proba[:, rare]
        measures |= {
            f"ROC AUC of {label}": (
                roc_auc_score(there, odds, sample_weight=evidence.weights),
                lambda weights: ranks.roc_auc(weights[ranked]),
            ),
            f"average precision of {label}": (
                average_precision_score(there, odds, sample_weight=evidence.weights),
                lambda weights: ranks.average_precision(weights[ranked]),
            ),
        }
    if not isinstance(prediction.decision, Unreached | RowCosts):
        logits = held_out.tensor.to(prediction.criterion.class_weight.device)
        right = prediction.scores(logits).argmax(dim=1).cpu().numpy() == codes
        measures["balanced accuracy"] = (
            _balanced_accuracy(codes, right, evidence.weights),
            lambda weights: _balanced_accuracy(codes, right, weights),
        )
    drawn = [[measure(weights) for _, measure in measures.values()] for weights in _draws(codes, evidence.weights)]
    low, high = np.quantile(drawn, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2], axis=0)
    return [
        (name, float(value), float(one), float(other), "bootstrap")
        for (name, (value, _)), one, other in zip(measures.items(), low, high, strict=True)
    ]


def _draws(codes: np.ndarray, weights: np.ndarray) -> Iterable[np.ndarray]:
    """Yield the weights of rows in each draw of a bootstrap, by class."""
    rng = np.random.default_rng(0)
    places = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    for _ in range(int(np.clip(_ROWS_DRAWN // len(codes), 100, _DRAWS))):
        drawn = np.zeros(len(codes))
        for own in places:
            drawn[own] = np.bincount(rng.integers(len(own), size=len(own)), minlength=len(own))
        yield drawn * weights


class _Ranks:
    """Scores of a ranking for any weights of its rows, which stand in ascending order and may be tied."""

    def __init__(self, scores: np.ndarray, there: np.ndarray) -> None:
        self.there = there
        self.starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))

    def _sums(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of rows of the class and of others, for each value of the score."""
        return tuple(np.add.reduceat(weights * own, self.starts) for own in (self.there, ~self.there))  # type: ignore[return-value]

    def roc_auc(self, weights: np.ndarray) -> float:
        hits, others = self._sums(weights)
        below = np.cumsum(others) - others / 2
        return float((hits * below).sum() / (hits.sum() * others.sum()))

    def average_precision(self, weights: np.ndarray) -> float:
        hits, others = (sums[::-1] for sums in self._sums(weights))
        called = np.cumsum(hits + others)
        precision = np.divide(np.cumsum(hits), called, out=np.zeros(len(called)), where=called > 0)
        return float((hits * precision).sum() / hits.sum())


def _balanced_accuracy(codes: np.ndarray, right: np.ndarray, weights: np.ndarray) -> float:
    totals, hits = np.bincount(codes, weights), np.bincount(codes, weights * right)
    return float((hits[totals > 0] / totals[totals > 0]).mean())


# What to beware of


def _warnings(estimator: Any, prediction: Prediction, evidence: Evidence | None, reports: list[dict[str, Any]]) -> str:
    found = []
    what, counts = _counts(estimator, evidence)
    few = {label: float(n) for label, n in zip(labels_of(estimator.classes_), counts, strict=True) if n < _FEW}
    if few:
        sizes = ", ".join(f"{listed(label)}: {n:.4g}" for label, n in few.items())
        found.append(f"Few rows: these classes have less than {_FEW} {what} ({sizes}). Scores may be far off.")
    if prediction.target is None:
        learned, prior = prediction.effective_prior, prediction.class_prior
        if np.isnan(learned).any():
            found.append(
                "The prior that the net learned under is unknown, as a sampler of the user's chose the rows: "
                "probabilities are not those of the data."
            )
        elif not np.allclose(learned, prior, rtol=1e-3, atol=0):
            found.append(
                f"Probabilities are not corrected: they are at {_prior_in_words(learned, estimator.classes_)}, and the "
                f"data have {_prior_in_words(prior, estimator.classes_)}. `set_params(prior_correction=True)` carries "
                "them there."
            )
    if evidence is None:
        found.append(
            "Nothing was held out in training, so that there are no scores here: test the model on other rows."
        )
    if estimator.best_epoch_ == 0:
        found.append("No epoch was better than the class prior on the rows that were held out.")
    found += [f"The decision: {note}" for note in dict.fromkeys(report["note"] for report in reports) if note]
    return _bullets(found) or "None of the usual ones: classes have enough rows, and probabilities are at their prior."


def _loading(estimator: Any) -> str:
    name = path_to(type(estimator))
    place, _, cls = name.rpartition(".")
    handed = parts_to_hand_over(estimator)
    arguments = "".join(f", {part}=..." for part in handed)
    needs = "".join(f" `{part}` is {path}." for part, path in handed.items())
    return (
        f'`model.save("model.safetensors")` writes a file without pickle.{needs}\n\n```python\nfrom {place} import '
        f'{cls}\n\nmodel = {cls}.load("model.safetensors"{arguments})\nmodel.predict_proba(X)\n```'
    )
