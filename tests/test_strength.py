"""The benchmark of strength: its scores, its file of results and its table."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

sys.path.extend(str(Path(__file__).parent.parent / folder) for folder in ("examples", "benchmarks"))

import rivals
import strength

SETS = ["glass", "ecoli", "yeast", "car", "flare", "haberman"]


def line(name, fold, rival, log_loss, more=0.5):
    signs = {score: more if sign == 1 else log_loss for score, sign in strength.SIGNS.items()}
    return {"set": name, "fold": fold, "rival": rival, **signs, **dict.fromkeys(strength.COSTS, 1.0)}


def written(tmp_path, records):
    path = tmp_path / "strength.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def results(tmp_path):
    """Of six sets and three rivals, "good" has .8 of CatBoost's log loss on each; on the last set one is missing."""
    rows = [
        (name, fold, rival, (i + 1 + fold / 10) * ratio)
        for i, name in enumerate(SETS)
        for fold in (0, 1)
        for rival, ratio in [("good", 0.8), ("CatBoost", 1.0), ("mixed", 1.1 if i % 2 else 0.7)]
    ]
    records = [line(*row, more=0.5 + 2e-16 * (row[2] == "good")) for row in rows]
    records += [line("nursery", 0, "good", 1.0), line("nursery", 1, "CatBoost", 1.0)]
    return strength.cached_results(written(tmp_path, records))


def test_only_folds_that_all_rivals_have_are_compared(results):
    by_set, text = strength.comparable(results, ["good", "CatBoost", "mixed"])
    assert by_set.index.unique("set").tolist() == SETS
    assert text.startswith("6 sets (glass: 2, ecoli: 2, yeast: 2, car: 2, flare: 2, haberman: 2), 12 folds.")
    assert text.endswith("Left out, as no fold has all rivals: nursery.")
    assert by_set.loc[("glass", "CatBoost"), "log loss"] == pytest.approx(1.05)


def test_ranks_are_means_over_sets_and_ties_share_theirs(results):
    by_set, _ = strength.comparable(results, ["good", "CatBoost", "mixed"])
    ranks = strength.mean_ranks(by_set, ["good", "CatBoost", "mixed"])
    assert ranks["log loss"].to_dict() == {"good": 1.5, "CatBoost": 2.5, "mixed": 2.0}
    assert ranks["AP"].to_dict() == {"good": 2.0, "CatBoost": 2.0, "mixed": 2.0}
    assert strength.mean_ranks(by_set, ["good", "CatBoost"])["Brier"].to_dict() == {"good": 1.0, "CatBoost": 2.0}


def test_the_comparison_with_one_rival_has_ratios_wins_and_wilcoxons_p(results):
    by_set, _ = strength.comparable(results, ["good", "CatBoost", "mixed"])
    table = strength.against(by_set, "CatBoost", ["good", "mixed"])
    assert table["log loss ratio"].to_dict() == {"good": "0.800", "mixed": f"{(1.1 * 0.7) ** 0.5:.3f}"}
    assert table.loc["good", "log loss"] == "6/6, 0.031"  # two-sided, exact: 2 / 2^6
    means = np.arange(1, 7) + 0.05
    assert table.loc["mixed", "log loss"] == f"3/6, {wilcoxon(means * np.tile([-0.3, 0.1], 3)).pvalue:.2g}"
    assert table.loc["good", "AP"] == "0/6, 1"


def test_the_report_is_markdown_with_the_best_of_the_others(results):
    text = strength.report(results, ["good", "CatBoost", "mixed"], ["good", "mixed"], "CatBoost", ["good", "LightGBM"])
    assert "Mean ranks of 3:" in text
    assert "Mean ranks of 2:" in text
    assert [cell.strip() for cell in text.splitlines()[-1].split("|")[1:-1]] == [
        "haberman",
        "0.5000",
        "0.5000 (CatBoost)",
        "4.8400",
        "6.0500 (CatBoost)",
    ]


def test_a_report_without_a_common_fold_says_so(tmp_path):
    results = strength.cached_results(written(tmp_path, [line("glass", 0, "a", 1.0), line("car", 0, "b", 1.0)]))
    text = strength.report(results, ["a", "b"], [], "a", [])
    assert text == "0 sets (), 0 folds. Left out, as no fold has all rivals: glass, car."


def test_the_last_line_of_a_result_counts_and_errors_do_not(tmp_path):
    error = {"set": "glass", "fold": 0, "rival": "b", "error": "ValueError()"}
    path = written(tmp_path, [line("glass", 0, "a", 1.0), error, line("glass", 0, "a", 2.0)])
    assert strength.cached_results(path)[["rival", "log loss"]].to_numpy().tolist() == [["a", 2.0]]
    assert strength.cached_results(tmp_path / "none").empty


def test_what_the_file_has_is_not_run_again_and_errors_are_tried_again(tmp_path, monkeypatch):
    ran, broken = [], {"b"}

    def run(rival, name, fold):
        ran.append((rival, name, fold))
        if rival in broken:
            raise ValueError("no strings")
        return line(name, fold, rival, 1.0)

    monkeypatch.setattr(strength, "RIVALS", dict.fromkeys("ab"))
    monkeypatch.setattr(strength, "run", run)
    monkeypatch.setattr(strength, "warm_up", lambda rival: None)
    path = tmp_path / "new" / "strength.jsonl"

    def missing(refresh=()):
        ran.clear()
        strength.run_missing(path, ["glass"], ["a", "b", "only in the file"], [0, 1], "", refresh)
        return list(ran)

    assert missing() == [("a", "glass", 0), ("b", "glass", 0), ("a", "glass", 1), ("b", "glass", 1)]
    assert "no strings" in path.read_text()
    broken.clear()
    assert missing() == [("b", "glass", 0), ("b", "glass", 1)]
    assert missing() == []
    assert missing(refresh=["a"]) == [("a", "glass", 0), ("a", "glass", 1)]
    assert len(strength.cached_results(path)) == 4


def test_ours_is_kept_by_version_and_label():
    assert strength.cached_name("ours", "trial") == f"ours {strength.__version__} trial"
    assert strength.cached_name("ours", "") == f"ours {strength.__version__}"
    assert strength.cached_name("CatBoost", "trial") == "CatBoost"


def test_scores_of_two_classes_are_of_the_rarer_one():
    y = np.array([0, 1, 1, 1])
    proba = np.array([[0.6, 0.4], [0.8, 0.2], [0.1, 0.9], [0.0, 1.0]])
    found = strength.score(y, proba, {"argmax": np.array([0, 0, 1, 1])})
    assert found["AP"] == pytest.approx(0.5)
    assert found["ROC AUC"] == pytest.approx(2 / 3)
    assert found["Brier"] == pytest.approx((0.16 + 0.64 + 0.01) / 4)
    assert found["log loss"] == pytest.approx(-np.log([0.6, 0.2, 0.9, 1.0]).mean())
    assert found["bal. acc. argmax"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["G-mean argmax"] == pytest.approx((2 / 3) ** 0.5)


def test_scores_of_more_classes_are_means_over_classes():
    y = np.array([0, 0, 1, 2])
    found = strength.score(y, np.eye(3)[[0, 0, 1, 1]], {"balanced": np.array([0, 0, 1, 1])})
    assert found["AP"] == pytest.approx((1 + 0.5 + 0.25) / 3)
    assert found["Brier"] == pytest.approx(2 / 4)
    assert found["log loss"] == pytest.approx(-np.log(1e-15) / 4)
    assert found["bal. acc. balanced"] == pytest.approx(2 / 3)
    assert found["G-mean balanced"] == 0


def test_native_categories_are_those_of_training_and_the_table_is_left_as_it_is():
    train = pd.DataFrame({"a": ["x", "y", None], "b": [1.0, np.nan, 3.0]})
    test = pd.DataFrame({"a": ["z", "x", None], "b": [1.0, 2.0, 3.0]})
    before = test.copy()
    coded = rivals.AsCategories().fit(train).transform(test)
    assert coded["a"].cat.categories.tolist() == ["x", "y"]
    assert coded["a"].cat.codes.tolist() == [-1, 0, -1]
    assert rivals.MissingAsLevel().fit(train).transform(test)["a"].tolist() == ["z", "x", "missing"]
    pd.testing.assert_frame_equal(test, before)


def test_a_fold_is_run_from_a_raw_table_to_scores():
    found = strength.run("LogisticRegression balanced", "flare-F", 0)
    assert set(found) == {*strength.SIGNS, *strength.COSTS}
    assert all(np.isfinite(list(found.values())))
    assert found["G-mean argmax"] == found["G-mean balanced"]
    assert found["ROC AUC"] > 0.6


def test_the_parts_share_no_set():
    named = strength.CHOOSE + strength.CONFIRM
    assert len(named) == len(set(named)) == 27 + 15
    assert strength.PARTS["all"] == named
    assert set(strength.QUICK) <= set(named)
    assert {*strength.FIVE, *strength.SHOWN, *strength.QUICK_RIVALS} <= set(rivals.RIVALS)
