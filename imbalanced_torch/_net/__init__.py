"""The skorch net: module, callbacks, loading of batches, and torch's global state as the net needs it."""
