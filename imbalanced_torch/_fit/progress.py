"""What `verbose=1` shows of a fit: one bar where there is a terminal or a notebook, a few lines elsewhere."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

from skorch.callbacks import Callback

from imbalanced_torch._fit.held_out_metrics import HeldOutScore

#: Seconds between lines where there is no bar.
_PAUSE = 5.0


class Progress(Callback):
    """Show epochs, rows a second, the loss of held-out rows and scores of these.

    Parameters
    ----------
    n_epochs : int
        At most.
    scores : list of HeldOutScore
    n_members : int
        Nets that see a row each in the time that one does.
    """

    only_watches = True

    def __init__(self, n_epochs: int, scores: list[HeldOutScore], n_members: int) -> None:
        self.n_epochs = n_epochs
        self.scores = scores
        self.n_members = n_members
        self.bar: Any = None

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self.first = len(net.history)
        self.began = self.shown = time.perf_counter()
        self.rows = 0
        self.text = ""
        bar, in_notebook = _bar_class()
        if in_notebook or sys.stdout.isatty():
            self.bar = bar(total=self.n_epochs, unit="epoch", file=sys.stdout, dynamic_ncols=True)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        epoch = net.history[-1]
        self.rows += sum(batch.get("train_batch_size", 0) for batch in epoch["batches"]) * self.n_members
        now = time.perf_counter()
        self.text = ", ".join([f"{self.rows / max(now - self.began, 1e-9):,.0f} rows/s", *self._held_out(net, epoch)])
        if self.bar is not None:
            self.bar.set_postfix_str(self.text, refresh=False)
            self.bar.update()
        elif now - self.shown >= _PAUSE or len(net.history) == self.first + 1:
            self.shown = now
            print(f"epoch {len(net.history)} of at most {self.first + self.n_epochs}: {self.text}", flush=True)

    def _held_out(self, net: Any, epoch: Any) -> list[str]:
        names = ("valid_log_loss_corrected", "valid_log_loss", "valid_loss", "train_loss")
        name = next((name for name in names if name in epoch), None)
        told = (
            [] if name is None else [f"{'training' if name == 'train_loss' else 'held-out log'} loss {epoch[name]:.4f}"]
        )
        if "valid_batch_count" in epoch:
            told += [f"{_words(score.name)} {net.score_held_out(score):.3f}" for score in self.scores]
        return told

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        else:
            print(f"ended after epoch {len(net.history)}: {self.text}", flush=True)

    def close(self) -> None:
        """Take away the bar of a fit that was interrupted."""
        if self.bar is not None:
            self.bar.leave = False
            self.bar.close()
            self.bar = None


def _words(name: str) -> str:
    return name.replace("_", " ")


def _bar_class() -> tuple[Any, bool]:
    """Return tqdm's bar for where this runs, and whether that is a notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a notebook without widgets, where text serves
        from tqdm.auto import tqdm
        from tqdm.std import tqdm as of_terminals
    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    return (tqdm, True) if in_notebook else (of_terminals, False)
