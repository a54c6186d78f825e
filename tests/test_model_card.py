"""The model card: what it says, that its numbers are right, and what it warns of."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score, balanced_accuracy_score, log_loss, roc_auc_score
from torch import nn

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._export import model_card

pytest.importorskip("skops.card")


class OneLayer(nn.Linear):
    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs)


def rows(n=400, labels=("legit", "fraud"), share=0.1):
    rng = np.random.default_rng(0)
    y = (rng.random(n) < share).astype(int) if len(labels) == 2 else rng.choice(len(labels), n, p=[0.7, 0.2, 0.1])
    return rng.normal(size=(n, 3)) + 0.8 * y[:, None], np.asarray(labels)[y]


def net(**settings):
    return ImbalancedNetClassifier(**{"max_epochs": 3, "random_state": 0, **settings})


def sections(estimator):
    """Return the text of the card's sections by title."""
    parts = re.split(r"^# (.*)$", estimator.model_card().render(), flags=re.MULTILINE)
    return {title: text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def table(text):
    """Return the rows of the first table in a text, by their first cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first: rest for first, *rest in cells}


def test_a_card_has_its_sections_in_order():
    assert list(sections(net().fit(*rows()))) == [
        "Model description",
        "Intended uses & limitations",
        "Warnings",
        "Classes",
        "Input",
        "Imbalance",
        "Training",
        "Scores",
        "How to load the model",
        "Hyperparameters",
    ]


def test_classes_stand_there_with_sizes_priors_and_weights():
    X, y = rows()
    fitted = net(module=MLP, class_weight="balanced", sampling="over").fit(X, y)
    found = table(sections(fitted)["Classes"])
    n = (y == "fraud").sum()
    assert found["fraud"][0] == str(n)
    assert [float(value) for value in found["fraud"][1:]] == pytest.approx(
        [
            values[0]
            for values in (fitted.class_prior_, fitted.sampled_prior_, fitted.class_weight_, fitted.effective_prior_)
        ],
        rel=1e-3,
    )


def test_weighted_rows_are_counted_as_rows_where_they_are_known_and_by_weight_where_not():
    X, y = rows()
    weights = np.where(y == "fraud", 2.5, 1.0)
    assert "| training rows |" in sections(net().fit(X, y, weights))["Classes"]
    card = sections(net(module=MLP, early_stopping=False).fit(X, y, weights))
    assert "| training rows by weight |" in card["Classes"]
    assert float(table(card["Classes"])["fraud"][0]) == pytest.approx(2.5 * (y == "fraud").sum(), rel=1e-3)


def test_the_strategy_and_the_settings_stand_there():
    card = sections(net(class_weight={"fraud": 3.0}, prior_correction=True, decision=0.3).fit(*rows()))
    found = table(card["Imbalance"])
    assert found["class_weight"][0] == "{'fraud': 3.0}"
    assert (found["prior_correction"][0], found["decision"][0]) == ("True", "0.3")
    assert "at the prior fraud 0.1" in card["Imbalance"]
    assert table(card["Training"])["module"] == ["MLPEnsemble"]
    assert table(card["Hyperparameters"])["max_epochs"] == ["3"]


@pytest.mark.parametrize("settings", [{}, {"module": MLP, "early_stopping": True}], ids=["members", "one net"])
@pytest.mark.parametrize("labels", [("legit", "fraud"), (3, 1, 2)], ids=str)
def test_scores_are_scikit_learns_and_lie_in_their_intervals(settings, labels):
    X, y = rows(labels=labels)
    fitted = net(**settings, class_weight="balanced", prior_correction=True).fit(X, y)
    held_out, rare = fitted._held_out, int(fitted.class_prior_.argmin())
    label = fitted.classes_[rare]
    proba = fitted._prediction().proba(held_out.tensor).double().numpy()
    proba /= proba.sum(axis=1, keepdims=True)
    chosen = fitted._prediction().scores(held_out.tensor).argmax(dim=1).numpy()
    expected = {
        "log loss": log_loss(held_out.codes, proba),
        f"ROC AUC of {label}": roc_auc_score(held_out.codes == rare, proba[:, rare]),
        f"average precision of {label}": average_precision_score(held_out.codes == rare, proba[:, rare]),
        "balanced accuracy": balanced_accuracy_score(held_out.codes, chosen),
        f"recall of {label}": (chosen == held_out.codes)[held_out.codes == rare].mean(),
    }
    text = sections(fitted)["Scores"]
    found = table(text)
    for name, value in expected.items():
        shown, low, high, how = found[name]
        assert float(shown) == pytest.approx(value, rel=1e-3, abs=1e-4), name
        assert float(low) <= float(shown) <= float(high)
        assert how == ("exact (Clopper-Pearson)" if name.startswith("recall") else "bootstrap")
    assert (
        f"On {len(held_out.codes)} rows, {(held_out.codes == rare).sum()} of them of the rarest class {label}" in text
    )
    assert ("out-of-fold" if held_out.members is not None else "set aside") in text


def test_scores_of_a_draw_are_scikit_learns_under_weights_and_ties():
    rng = np.random.default_rng(0)
    scores, there, weights = np.sort(rng.integers(0, 20, 200)), rng.random(200) < 0.2, rng.random(200)
    weights[:30] = 0
    ranks = model_card._Ranks(scores, there)
    assert ranks.roc_auc(weights) == pytest.approx(roc_auc_score(there, scores, sample_weight=weights), abs=1e-12)
    assert ranks.average_precision(weights) == pytest.approx(
        average_precision_score(there, scores, sample_weight=weights), abs=1e-12
    )


def test_a_draw_keeps_the_rows_of_each_class():
    codes, weights = np.repeat([0, 1, 2], [50, 3, 1]), np.ones(54)
    draws = list(model_card._draws(codes, weights))
    assert len(draws) == 1000
    assert all(np.bincount(codes, drawn).tolist() == [50, 3, 1] for drawn in draws)
    assert len({tuple(drawn) for drawn in draws}) > 900


# Warnings


@pytest.mark.parametrize(
    ("settings", "share", "words"),
    [
        ({}, 0.3, "None of the usual ones"),
        (
            {"class_weight": "balanced"},
            0.3,
            "Probabilities are not corrected: they are at fraud 0.5, legit 0.5, and the ",
        ),
        ({"class_weight": "balanced", "prior_correction": True}, 0.3, "None of the usual ones"),
        ({}, 0.02, "Few rows: these classes have less than 20 training rows ('fraud': "),
        (
            {"module": MLP, "early_stopping": False},
            0.3,
            "Nothing was held out in training, so that there are no scores",
        ),
        ({"decision": {"precision": 0.999}}, -0.3, "The decision: "),
    ],
    ids=["none", "uncorrected", "corrected", "few", "nothing held out", "goal not reached"],
)
@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncertainDecisionWarning")
def test_a_card_warns_of_what_is_amiss(settings, share, words):
    X, y = rows(share=abs(share))
    card = sections(net(**settings).fit(X if share > 0 else np.zeros_like(X), y))
    assert words in card["Warnings"]
    assert ("Scores" in card) == ("Nothing was held out" not in card["Warnings"])


def test_a_decision_by_costs_of_rows_has_no_score_but_the_probabilities_have():
    def costs(proba, X):
        return np.tile([[0.0, 1.0], [5.0, 0.0]], (len(X), 1, 1))

    found = table(sections(net(decision=costs).fit(*rows()))["Scores"])
    assert "log loss" in found
    assert "balanced accuracy" not in found


def test_a_decision_that_was_settled_on_the_rows_says_so():
    words = "The decision was settled on these very rows"
    assert words in sections(net(decision={"recall": 0.8}).fit(*rows()))["Scores"]
    assert words not in sections(net().fit(*rows()))["Scores"]


# The rest


def test_a_table_stands_there_with_its_columns():
    X, y = rows()
    frame = pd.DataFrame(X, columns=["a", "b|c", "d"]).assign(kind=np.where(X[:, 0] > 0, "x", "y"))
    found = table(sections(net().fit(frame, y))["Input"])
    assert found["kind"] == ["category", "['x', 'y']"]
    assert found["b\\|c"][0] == "number"


def test_the_card_says_how_to_load_the_model_and_what_to_hand_over(tmp_path, monkeypatch):
    X, y = rows()
    fitted = net().fit(X, y)
    monkeypatch.chdir(tmp_path)
    fitted.save("model.safetensors")
    code = re.search(r"```python\n(.*?)```", sections(fitted)["How to load the model"], re.DOTALL)[1]
    namespace = {"X": X}
    exec(code, namespace)
    np.testing.assert_array_equal(namespace["model"].predict_proba(X), fitted.predict_proba(X))
    text = sections(net(module=OneLayer).fit(X, y))["How to load the model"]
    assert f"`module` is {OneLayer.__module__}.OneLayer." in text
    assert 'load("model.safetensors", module=...)' in text


def test_words_of_ones_own_can_be_added(tmp_path):
    card = net().fit(*rows()).model_card()
    card.add(**{"Intended uses & limitations": "For one bank."})
    card.save(tmp_path / "README.md")
    assert "For one bank." in (tmp_path / "README.md").read_text()


def test_an_estimator_that_is_not_fitted_and_a_missing_package_are_told(monkeypatch):
    with pytest.raises(NotFittedError):
        net().model_card()
    fitted = net(module=MLP).fit(*rows())
    monkeypatch.setitem(sys.modules, "skops.card", None)
    with pytest.raises(ImportError, match=re.escape("model_card needs skops: pip install 'imbalanced-torch[card]'.")):
        fitted.model_card()
