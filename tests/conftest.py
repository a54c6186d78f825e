"""What all tests share: one torch thread, so that runs are equal bit by bit, and a small imbalanced set."""

import os
import re

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # else scikit-learn skips some of its checks

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification

torch.set_num_threads(1)
#: Files that look at the fast path itself.
OF_THE_FAST_PATH = {"test_adam.py", "test_layers.py", "test_step.py"}
WITHOUT_FAST_PATH = "WITHOUT_FAST_PATH" in os.environ


@pytest.fixture(autouse=WITHOUT_FAST_PATH)
def no_fast_path(monkeypatch):
    """Run as if the folder of the fast path were not there: only speed may change."""
    monkeypatch.setattr("imbalanced_torch._net.skorch_net.fast", None)


def pytest_ignore_collect(collection_path):
    """Leave out what tests the fast path itself where it is switched off."""
    return True if WITHOUT_FAST_PATH and collection_path.name in OF_THE_FAST_PATH else None


@pytest.fixture
def data():
    """300 rows of 5 float64 features, 15 % in class 1."""
    X, y = make_classification(300, n_features=5, n_informative=3, weights=[0.85], class_sep=1.5, random_state=0)
    return X, y


@pytest.fixture
def three_classes():
    """300 rows of 5 features, three string labels with 210, 75 and 15 rows or so."""
    X, y = make_classification(
        300,
        n_features=5,
        n_informative=4,
        n_redundant=0,
        n_classes=3,
        weights=[0.7, 0.25],
        n_clusters_per_class=1,
        random_state=0,
    )
    return X, np.array(["ok", "warn", "fail"])[y]


#: What compares no numbers that kernels round: words, files, imports, processes.
NOT_NUMERICAL = {
    "test_any_value.py",
    "test_architecture.py",
    "test_checkpoint.py",
    "test_columns.py",
    "test_command_line.py",
    "test_comparison.py",
    "test_constraints.py",
    "test_displays.py",
    "test_docstrings.py",
    "test_engines.py",
    "test_errors.py",
    "test_examples.py",
    "test_explaining.py",
    "test_group.py",
    "test_group_checkpoint.py",
    "test_hyperparameters.py",
    "test_keywords.py",
    "test_matrix.py",
    "test_model_card.py",
    "test_onnx.py",
    "test_parallel.py",
    "test_persistence.py",
    "test_pickles.py",
    "test_private_names.py",
    "test_progress.py",
    "test_project.py",
    "test_readme.py",
    "test_repr.py",
    "test_saved_model.py",
    "test_skops.py",
    "test_strength.py",
    "test_torch_export.py",
}


#: What takes seconds, or stands for many like it: whole files, and functions by name.
SLOW_FILES = {
    "test_any_value.py",
    "test_default_statistics.py",
    "test_engines.py",
    "test_examples.py",
    "test_explaining.py",
    "test_parallel.py",
    "test_statistics.py",
}
SLOW = {
    "test_a_compiled_module_is_exported_as_it_was_before",
    "test_a_compiled_module_trains",
    "test_a_dataset_is_shown_to_the_exporter",
    "test_a_dict_of_arrays_becomes_an_input_for_each_name",
    "test_a_file_that_can_not_be_written_leaves_the_old_one",
    "test_a_forked_process_can_not_speak_for_the_group",
    "test_a_grid_search_in_each_process_fits_the_same_candidates",
    "test_a_loss_compiles_in_one_graph_and_runs_on_another_device",
    "test_a_module_that_the_exporter_can_not_follow_is_named_with_the_reason",
    "test_a_net_in_a_pipeline_is_tuned_and_searched",
    "test_a_process_that_is_gone_costs_the_epoch_that_it_was_in",
    "test_a_process_that_does_not_come_ends_the_others_within_the_timeout",
    "test_a_process_killed_while_it_saves_leaves_the_old_file_or_the_new_one",
    "test_a_process_of_its_own_fits_and_the_package_imports_nothing_that_is_optional",
    "test_a_real_terminal_shows_the_bar",
    "test_a_score_from_counts_is_scikit_learns",
    "test_a_table_becomes_one_input_for_each_column_and_labels_come_out_as_words",
    "test_an_exported_graph_predicts_as_predict_does",
    "test_another_process_with_other_hashes_goes_on",
    "test_balanced_on_a_plain_net_is_as_good_as_a_reweighted_one",
    "test_check_estimator_passes_whole_with_no_check_skipped",
    "test_corrected_probabilities_are_the_bayes_posterior",
    "test_every_decision_of_a_plain_net_is_in_the_graph",
    "test_every_decision_of_many_classes_is_in_the_graph",
    "test_every_form_of_the_default_net_on_arrays_of_two_classes_is_in_the_graph",
    "test_every_kind_of_fit_in_a_group_that_was_cut_short_ends_as_one_that_was_not",
    "test_every_kind_of_fit_that_was_cut_short_ends_as_one_that_was_not",
    "test_few_positives",
    "test_fitted_nets_cover_every_class_of_new_rows",
    "test_graphs_of_real_sets",
    "test_grid_search_over_everything_with_two_jobs_equals_one_job_bit_by_bit",
    "test_images_of_a_convolution",
    "test_killed_at_twenty_moments_it_loses_no_more_than_the_epoch_in_work",
    "test_labels_of_every_kind_are_in_the_graph",
    "test_labels_of_every_kind_come_back",
    "test_minibatches_give_the_scores_of_one_process_within_noise",
    "test_modules_losses_and_loaders_of_any_kind_end_the_same",
    "test_modules_of_the_users_with_one_logit_or_two_in_both_precisions",
    "test_names_that_outputs_have_and_none_are_called_otherwise",
    "test_no_word_means_missing_where_the_empty_one_is_a_level",
    "test_operators_are_the_same_in_a_graph",
    "test_out_of_fold_probabilities_have_not_seen_their_rows",
    "test_polars_and_names_that_are_no_strings",
    "test_probabilities_are_the_exact_inverse_at_the_least_loss",
    "test_partial_fit_counts_the_chunks_of_all",
    "test_pure_noise_costs_at_most_five_hundredths_over_the_prior",
    "test_report_writes_a_page_and_says_the_finding_and_the_command_to_take",
    "test_scikit_learns_checks",
    "test_scoring_callbacks_count_the_rarest_class_as_positive",
    "test_sparse_rows_are_dense_in_the_graph",
    "test_sparse_rows_are_made_dense_in_chunks_of_so_many_bytes_and_one_at_a_time",
    "test_sparse_rows_of_many_columns",
    "test_tables_drawn_at_random",
    "test_the_code_of_a_page_runs_from_top_to_bottom",
    "test_the_default_net_is_compiled",
    "test_the_default_strategies_train_on_a_raw_table",
    "test_the_finding_claims_a_remedy_in_few_cases_where_there_is_nothing_but_noise",
    "test_the_fitted_module_is_exported_for_any_number_of_rows",
    "test_the_fitted_module_is_traced_by_the_compiler",
    "test_the_graph_says_nothing_of_the_machine_that_wrote_it",
    "test_the_page_fits_a_phone_and_a_desk_by_day_and_by_night",
    "test_the_page_of_a_net_without_held_out_rows_and_of_three_classes",
    "test_the_probabilities_of_each_loss_are_in_the_graph",
    "test_three_processes_are_one_fit_too",
    "test_threads_of_a_process_fit_one_after_the_other",
    "test_training_starts_where_the_risk_has_no_slope",
    "test_two_classes_agree_with_scikit_learns_threshold",
    "test_two_jobs_are_one_job_bit_by_bit",
    "test_two_jobs_compare_as_one_job_does",
    "test_two_jobs_find_what_one_job_finds",
    "test_warm_start_goes_on_on_all",
    "test_worker_processes_of_joblib_are_refused",
}


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items):
    """Mark what is slow, and what runs once more with other kernels: every file but those above. Check the ids."""
    for item in items:
        if item.path.name not in NOT_NUMERICAL:
            item.add_marker(pytest.mark.numerical)
        if item.path.name in SLOW_FILES or getattr(item, "originalname", None) in SLOW:
            item.add_marker(pytest.mark.slow)
    addresses = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if addresses:  # and -n could not put the processes' tests together
        raise pytest.UsageError(f"ids of parameters must be the same in every process; this is none: {addresses[0]}")


def pytest_make_parametrize_id(val):
    """Give every parameter a readable id that is the same in every process."""
    text = getattr(val, "__name__", None) or str(val)
    return re.sub(r" at 0x\w+", "", text)[:60].replace("\n", " ")
