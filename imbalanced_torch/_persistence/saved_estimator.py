"""The methods by which the estimator saves what it has learned, and takes over what another one has."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from imbalanced_torch._parameters.values import format_prior, labels_of
from imbalanced_torch._persistence.files import Loaded, as_in_a_file, described, priors_of, restored_on_error
from imbalanced_torch._persistence.pickles import Versioned
from imbalanced_torch._remedies.class_priors import ClassPriors

#: Arguments of `load_params` that bring no weights.
_WITHOUT_WEIGHTS = {"f_history", "f_optimizer", "use_safetensors"}


class SavesParams(Versioned):
    """A classifier around a net, whose files hold what probabilities depend on too."""

    net_: Any
    classes_: np.ndarray
    class_priors_: ClassPriors

    def save_params(self, *args: Any, **kwargs: Any) -> None:
        """Save weights, optimizer or history of the fitted net.

        The files of one call are one unit. They are written beside the old ones and reach the disk before the first of
        these is replaced. So a full disk or the end of the process leaves either the old files, or files with which
        `load_params` finds the whole new unit; at worst (another call for each file, as skorch's Checkpoint makes) it
        says that they come from different saves. What could not be put in place then stays beside, under names that end
        in ".new"; a save to the same path removes it after an hour. Open files, pipes and devices are written to as
        they are, before the others are put in place.

        Parameters
        ----------
        *args
            The parameters below by position.
        **kwargs
            The parameters below by name, and `f_*` for other modules of the net.

        Other Parameters
        ----------------
        f_params, f_optimizer, f_criterion, f_history : path or file open for writing, default=None
            As in skorch; `f_criterion` is needed for a criterion with parameters of its own.
        use_safetensors : bool, default=False
            Whether to write safetensors, which hold tensors alone and so no optimizer.

        Raises
        ------
        OSError, TypeError, ValueError
            If an argument is not what it must be or can't be written.
        """
        check_is_fitted(self)
        self.net_.save_params(*args, **kwargs)

    def load_params(self, *args: Any, **kwargs: Any) -> None:
        """Load what `save_params` saved; predictions are then those of the estimator that was saved.

        This estimator must be fitted, with a module of the same shape and the same `criterion`, on the same classes in
        the same shares (`classes_`, `class_prior_`), for it is these that probabilities are corrected to.
        `class_weight_`, `sampled_prior_` and `effective_prior_` come with the weights; `n_iter_` and `best_epoch_` come
        with the history. What is known of held-out rows is dropped with the old weights, as the new ones may have seen
        these. On any error the estimator is as it was. To carry over a whole estimator, `save` it; to load weights into
        another one without these checks, use `net_.load_params`.

        Parameters
        ----------
        *args
            The parameters below by position.
        **kwargs
            The parameters below by name, and `f_*` for other modules of the net.

        Other Parameters
        ----------------
        f_params, f_optimizer, f_criterion, f_history : path or file open for reading, default=None
            Of one call of `save_params`, all or some. Files that skorch wrote are not checked for classes and priors.
        checkpoint : skorch's Checkpoint, default=None
            Names the files that are not given.
        use_safetensors : bool, default=False
            Whether the files are safetensors.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If a file is damaged or something else, if files come from different saves, or if they don't fit.
        """
        check_is_fitted(self)
        net, history = self.net_, self.net_.history
        priors, best_epoch = self.class_priors_, None
        with restored_on_error(net):
            net.loaded_ = None
            net.load_params(*args, **kwargs)
            loaded, net.loaded_ = net.loaded_, None
            if loaded is not None:
                self._check_loaded(loaded)
                if any(part.removesuffix("_") in net._modules for part in loaded.parts):
                    priors, best_epoch = priors_of(loaded.mark) or priors, loaded.mark["best_epoch"]
                    net.learned_under(priors)
        if args or {name for name, file in kwargs.items() if file is not None} - _WITHOUT_WEIGHTS:
            self._forget_held_out()
        self.class_priors_ = priors
        if net.history is not history:
            self.n_iter_ = len(net.history)
            self.best_epoch_ = net.best_epoch_ = min(best_epoch or self.n_iter_, self.n_iter_)

    def _forget_held_out(self) -> None:
        """Drop what other weights said of rows that they were not trained on."""
        for name in ("_held_out", "oof_proba_", "oof_log_loss_"):
            vars(self).pop(name, None)

    def _check_loaded(self, loaded: Loaded) -> None:
        """Raise for files of an estimator whose probabilities mean something else."""
        must = f"{loaded.argument} must come from an estimator"
        classes, criterion = labels_of(self.classes_), described(self.net_.criterion_.criterion)
        saved = priors_of(loaded.mark)
        if loaded.mark["classes"] != as_in_a_file(classes):
            raise ValueError(f"{must} of the classes {classes}; {loaded.where!r} has {loaded.mark['classes']}.")
        if loaded.mark["criterion"] != as_in_a_file(criterion):
            raise ValueError(
                f"{must} with the criterion {_called(criterion)}; {loaded.where!r} has "
                f"{_called(loaded.mark['criterion'])}."
            )
        if saved is None:
            return
        prior, own = saved.class_prior, self.class_priors_
        # Rows that are held out of the same data may change a class by one.
        off = np.abs(prior - own.class_prior).max() * min(saved.n_rows, own.n_rows)
        if off > 1:
            raise ValueError(
                f"{must} with the class prior {format_prior(own.class_prior, self.classes_)}, which probabilities are "
                f"corrected to; {loaded.where!r} has {format_prior(prior, self.classes_)}. Fit on the same rows, or "
                "pickle the estimator instead."
            )


def _called(criterion: list[Any]) -> str:
    name, parameters = criterion
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in parameters.items() if key != 'reduction')})"
