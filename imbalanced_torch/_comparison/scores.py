"""What strategies are scored by, and which plain net each score is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring, log_loss, make_scorer

from imbalanced_torch._parameters.values import listed
from imbalanced_torch._prediction.label_scores import with_positive

DEFAULT = ("average_precision", "balanced_accuracy", "neg_log_loss")
#: Scorers of scikit-learn for two classes, and what they are for more.
_FOR_MORE = {"f1": "f1_macro", "roc_auc": "roc_auc_ovr", "precision": "precision_macro", "recall": "recall_macro"}
_NOUNS = {
    "f1": "F1",
    "f1_macro": "macro F1",
    "matthews_corrcoef": "Matthews correlation",
    "neg_log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "roc_auc_ovr": "ROC AUC",
}
#: The decision of a plain net that a score of labels asks for; "balanced" for those that are not here.
_DECISIONS = {
    "accuracy": "trained",
    "f1": "f1",
    "f1_macro": "f1_macro",
    "matthews_corrcoef": "mcc",
}


@dataclass(frozen=True)
class Score:
    """A scorer, what it is called, and the `decision` of the plain net that strategies are compared with."""

    name: str
    scorer: Any
    noun: str
    is_loss: bool
    decision: str

    @property
    def of_labels(self) -> bool:
        """Whether the score looks at predicted labels, which a decision moves, and not at how rows are ranked."""
        return _reads_labels(self.scorer)


def resolve_scores(scoring: Any, estimator: Any, classes: np.ndarray, rarest: Any) -> list[Score]:
    """Return the scores that `scoring` names, the rarest class being the positive one of two."""
    if scoring is None:
        scoring = DEFAULT
    if isinstance(scoring, str) or callable(scoring):
        scoring = [scoring]
    if isinstance(scoring, list | tuple):
        names = [_name_of(given) for given in scoring]
        if len(set(names)) < len(names):
            raise ValueError(f"scoring must have scores of different names, as a dict has; there are {names}.")
        scoring = dict(zip(names, scoring, strict=True))
    if not isinstance(scoring, Mapping) or not scoring:
        raise TypeError(
            f"scoring must be a name or scorer of scikit-learn, a list of these or a dict; it is {listed(scoring)}."
        )
    return [_score(str(name), given, estimator, classes, rarest) for name, given in scoring.items()]


def _score(name: str, given: Any, estimator: Any, classes: np.ndarray, rarest: Any) -> Score:
    word = _name_of(given)
    if len(classes) > 2 and isinstance(given, str):
        given = word = _FOR_MORE.get(given, given)
    if word == "neg_log_loss":  # a fold may lack a class
        labels = classes.tolist()
        scorer = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=labels)
    else:
        scorer = with_positive(check_scoring(estimator, scoring=given), rarest if len(classes) == 2 else None)
    bare = name.removeprefix("neg_")
    noun = _NOUNS.get(word if name == _name_of(given) else name, bare.replace("_", " "))
    decision = _DECISIONS.get(word, "balanced") if _reads_labels(scorer) else "trained"
    return Score(name, scorer, noun, bare != name, decision)


def _reads_labels(scorer: Any) -> bool:
    """Whether a scorer asks for labels; of a function that does not say, labels are assumed."""
    method = getattr(scorer, "_response_method", "predict")
    return method == "predict"


def _name_of(given: Any) -> str:
    if isinstance(given, str):
        return given
    function = getattr(given, "_score_func", given)
    return str(getattr(function, "__name__", type(given).__name__)).removesuffix("_score")
