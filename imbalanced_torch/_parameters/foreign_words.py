"""What parameters and values of other packages are called here: one table of names, one of values."""

from __future__ import annotations

_COSTS = 'class_weight={label: weight} says what each class costs; class_weight="balanced" makes them equal.'
_STOPPING = "Use early_stopping=True with n_iter_no_change, the epochs without improvement before stopping."
_EPOCHS = "Use max_epochs."
_LR = "Pass a number, and callbacks=[skorch.callbacks.LRScheduler(...)] to change it."
_RESAMPLER = (
    "What makes new rows goes before the net, in imblearn.pipeline.make_pipeline({}, ImbalancedNetClassifier()), which "
    "resamples the training rows only."
)

#: Name of a parameter elsewhere -> the sentence that says what it is here.
NAMES: dict[str, str] = {
    # the classes
    "scale_pos_weight": _COSTS,
    "pos_weight": _COSTS,
    "is_unbalance": _COSTS,
    "class_weights": _COSTS,
    "auto_class_weights": _COSTS,
    "weight": "Use class_weight, or the argument sample_weight of fit.",
    "weights": "Use class_weight, or the argument sample_weight of fit.",
    "sample_weight": "sample_weight is an argument of fit.",
    "sampler": 'Use sampling, for example sampling="weighted".',
    "sampling_strategy": 'Use sampling: "over", "under", a dict from label to count, or OverSampling(ratio=...).',
    "oversampling": 'Use sampling="over".',
    "undersampling": 'Use sampling="under".',
    "loss": "Use criterion.",
    "loss_fn": "Use criterion.",
    "objective": "Use criterion.",
    "gamma": 'Use criterion__gamma, with criterion="focal".',
    "label_smoothing": 'Use criterion="label_smoothing" with criterion__smoothing.',
    "threshold": "Use decision: a float is a threshold on the probability of classes_[1].",
    "priors": "Use prior_correction.",
    "prior": "Use prior_correction.",
    # the net
    "model": "Use module.",
    "net": "Use module.",
    "estimator": "Use module.",
    "hidden_layer_sizes": "Use module__hidden_sizes.",
    "hidden_sizes": "Use module__hidden_sizes.",
    "hidden_units": "Use module__hidden_sizes.",
    "layers": "Use module__hidden_sizes.",
    "activation": "Use module__activation, a class such as torch.nn.Tanh.",
    "dropout": "Use module__dropout.",
    "dropout_rate": "Use module__dropout.",
    # the training
    "ckpt_path": "Use checkpoint, the path of a file.",
    "resume_from_checkpoint": "Use checkpoint, the path of a file.",
    "snapshot_file": "Use checkpoint, the path of a file.",
    "epochs": _EPOCHS,
    "n_epochs": _EPOCHS,
    "num_epochs": _EPOCHS,
    "nb_epoch": _EPOCHS,
    "max_iter": _EPOCHS,
    "n_estimators": "A net is trained in epochs instead. Use max_epochs; for several nets put it into a "
    "BaggingClassifier, which has n_estimators.",
    "num_boost_round": "A net is trained in epochs instead. Use max_epochs.",
    "learning_rate": "Use lr.",
    "learning_rate_init": "Use lr.",
    "eta": "Use lr.",
    "weight_decay": "Use optimizer__weight_decay.",
    "alpha": "Use optimizer__weight_decay for the penalty on weights, or criterion__alpha for that of a loss.",
    "reg_lambda": "Use optimizer__weight_decay.",
    "l2": "Use optimizer__weight_decay.",
    "momentum": "Use optimizer__momentum, with optimizer=torch.optim.SGD.",
    "betas": "Use optimizer__betas.",
    "solver": "Use optimizer, a class such as torch.optim.Adam.",
    "batchsize": "Use batch_size.",
    "shuffle": "Rows are shuffled in every epoch.",
    "num_workers": "Use iterator_train__num_workers.",
    "eval_metric": "Use callbacks=[skorch.callbacks.EpochScoring(...)] to see a score; early_stopping=True stops on "
    "the held-out log loss.",
    "metrics": "Use callbacks=[skorch.callbacks.EpochScoring(...)].",
    "eval_set": "Use train_split=skorch.helper.predefined_split(...) with a Dataset of the rows to validate on.",
    "validation_data": "Use train_split=skorch.helper.predefined_split(...) with a Dataset of the rows to validate on.",
    "validation_split": "Use validation_fraction, with early_stopping=True.",
    "early_stopping_rounds": _STOPPING,
    "patience": _STOPPING,
    # the machine
    "seed": "Use random_state.",
    "random_seed": "Use random_state.",
    "n_jobs": "torch uses several threads by itself: torch.set_num_threads sets how many. Searches and ensembles have "
    "n_jobs.",
    "nthread": "torch uses several threads by itself: torch.set_num_threads sets how many.",
    "use_gpu": 'Use device="cuda".',
    "gpu_id": 'Use device="cuda:0".',
}

_SAMPLERS = {
    "smote": "SMOTE()",
    "smotenc": "SMOTENC(...)",
    "smoten": "SMOTEN()",
    "borderline": "BorderlineSMOTE()",
    "borderlinesmote": "BorderlineSMOTE()",
    "svmsmote": "SVMSMOTE()",
    "kmeanssmote": "KMeansSMOTE()",
    "adasyn": "ADASYN()",
    "tomek": "TomekLinks()",
    "tomeklinks": "TomekLinks()",
    "enn": "EditedNearestNeighbours()",
    "nearmiss": "NearMiss()",
    "smoteenn": "SMOTEENN()",
    "smotetomek": "SMOTETomek()",
    "clustercentroids": "ClusterCentroids()",
    "rose": "RandomOverSampler(shrinkage=1.0)",
}

#: Parameter -> a word that others take there, in lower case -> the sentence that says what to pass here.
VALUES: dict[str, dict[str, str]] = {
    "sampling": {word: _RESAMPLER.format(sampler) for word, sampler in _SAMPLERS.items()},
    "optimizer": {
        word: f"Pass the class: torch.optim.{name}."
        for word, name in {
            "adam": "Adam",
            "adamw": "AdamW",
            "sgd": "SGD",
            "lbfgs": "LBFGS",
            "rmsprop": "RMSprop",
            "nadam": "NAdam",
            "adagrad": "Adagrad",
            "adamax": "Adamax",
        }.items()
    },
    "device": {
        "auto": 'Pass "cuda" if torch.cuda.is_available() else "cpu".',
        "gpu": 'Pass "cuda".',
    },
    "criterion": {
        "bce": "None is binary cross-entropy for two classes.",
        "binary_crossentropy": "None is binary cross-entropy for two classes.",
        "cross_entropy": "None is cross-entropy.",
        "crossentropy": "None is cross-entropy.",
        "categorical_crossentropy": "None is cross-entropy for more than two classes.",
        "log_loss": "None is cross-entropy, which is the log loss.",
    },
    "lr": {"auto": "None leaves it to the net.", "constant": _LR, "adaptive": _LR, "invscaling": _LR},
    "batch_size": {"auto": "None leaves it to the net.", "full": "Pass -1."},
    "module": {"mlp": "Pass the class: imbalanced_torch.MLP."},
}


def resampler(name: str) -> str:
    """Return what to do with a sampler of imbalanced-learn's."""
    return _RESAMPLER.format(f"{name}(...)")
