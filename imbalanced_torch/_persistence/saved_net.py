"""The methods by which a skorch net is saved and loaded as one unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skorch import NeuralNet
from skorch.utils import _check_f_arguments

from imbalanced_torch._persistence.files import Loaded, load, restored_on_error, save
from imbalanced_torch._persistence.pickles import Versioned
from imbalanced_torch._remedies.class_priors import ClassPriors


class SavedAsOneUnit(Versioned, NeuralNet):
    """A skorch net whose files are written as one unit, and read as one or not at all."""

    #: What skorch pickles apart, by how the names begin: all that holds tensors, which then are mapped to the CPU where
    #: their device is missing, and are shared as before.
    cuda_dependent_attributes_ = ["module", "criterion", "prediction_", "inferred", "dtype", "lr"]
    #: What the net learned from last, the epoch whose weights it has if that is not the last one, and the files that it
    #: was loaded from.
    priors_: ClassPriors | None = None
    best_epoch_: int | None = None
    loaded_: Loaded | None = None

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__({"eval_submodules_": [], "frozen_parameters_": [], "made_from": None, **state})

    def save_params(
        self,
        f_params: Any = None,
        f_optimizer: Any = None,
        f_criterion: Any = None,
        f_history: Any = None,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save parts of the net as skorch does, but as one unit: see `ImbalancedNetClassifier.save_params`."""
        own = {"f_params": f_params, "f_optimizer": f_optimizer, "f_criterion": f_criterion, "f_history": f_history}
        targets = _given("save_params", **own, **kwargs)
        if not targets or not self.initialized_:  # which skorch has words for
            super().save_params(**own, use_safetensors=use_safetensors, **kwargs)
        else:
            save(self, targets, use_safetensors)

    def load_params(
        self,
        f_params: Any = None,
        f_optimizer: Any = None,
        f_criterion: Any = None,
        f_history: Any = None,
        checkpoint: Any = None,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None:
        """Load parts of the net as skorch does, but all files or none, and none of different saves.

        Classes and their priors are compared by `ImbalancedNetClassifier.load_params` alone.
        """
        own = {"f_params": f_params, "f_optimizer": f_optimizer, "f_criterion": f_criterion, "f_history": f_history}
        sources = _given("load_params", **own, **kwargs)
        if checkpoint is None and (not sources or not self.initialized_):  # which skorch has words for
            super().load_params(**own, use_safetensors=use_safetensors, **kwargs)
            return
        if not self.initialized_:
            self.initialize()
        with restored_on_error(self):
            if checkpoint is not None:
                if f_history is None and checkpoint.f_history is not None:
                    load(self, {"f_history": checkpoint.f_history_}, False)  # its events are in names of files
                sources = {**_given("load_params", **checkpoint.get_formatted_files(self)), **sources}
            load(self, sources, use_safetensors)


def _given(caller: str, **files: Any) -> dict[str, Any]:
    """Return the files that skorch's arguments name, without a checkpoint's pickle."""
    _check_f_arguments(caller, **files)
    return {name: file for name, file in files.items() if file is not None and name != "f_pickle"}
